import testing from './testing.js';

export const { enqueueScripted, submitManyScripted, submitScripted } = testing;
export default testing;
