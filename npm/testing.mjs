import testing from './testing.js';

export const { submitScripted } = testing;
export default testing;
