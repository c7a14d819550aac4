// Whole numbers below 2^53 are exact in JavaScript; anything beyond is refused, on every step.
function exact(number) {
  if (!Number.isSafeInteger(number)) throw new RangeError("more than 2^53: not exact here");
  return number;
}
function counts(...numbers) {
  if (numbers.some((number) => exact(number) < 1)) throw new RangeError("less than 1");
}
function plus(...numbers) { return numbers.reduce((sum, number) => exact(sum + exact(number)), 0); }
function times(...numbers) { return numbers.reduce((product, number) => exact(product * exact(number)), 1); }
function least(...numbers) { return Math.min(...numbers.map(exact)); }
function floor_div(above, below) {
  if (exact(above) < 0 || exact(below) < 1) throw new RangeError("rounded are quotients of counts");
  return (above - above % below) / below;
}
function ceil_div(above, below) { return floor_div(above, below) + (above % below ? 1 : 0); }
function divided(above, below) {
  if (above % below) throw new RangeError("the quotient is no whole number");
  return floor_div(above, below);
}
