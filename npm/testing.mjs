import testing from './testing.js';

export const { ManualClock, SubmissionLog, createLane, drainNow, enqueueScripted, submitManyScripted, submitScripted } = testing;
export default testing;
