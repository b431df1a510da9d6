// Sets the clock forward by a little more than a minute at each SIGUSR2, like for a function that was frozen.
const now = Date.now;
let sleptMs = 0;
process.on('SIGUSR2', () => {
  sleptMs += 61_000;
  console.log('The clock was set forward.');
});
Date.now = () => now() + sleptMs;
