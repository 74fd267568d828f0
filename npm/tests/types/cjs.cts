// The CommonJS side of the types: the same names as in esm.mts.

import lanes = require('@a3s-lab/lane');
import testing = require('@a3s-lab/lane/testing');

const { Lane, LaneError } = lanes;
const configs: lanes.LaneConfig[] = [{ laneId: 'a', priority: 0 }];
const lane: lanes.Lane = Lane.withLanes(configs);
const text: string = lane.submit('a', 'echo', '1');
const code: lanes.LaneErrorCode = new LaneError('text', 'TIMEOUT').code;
const script: testing.Script = [[{ return: 1 }]];
const result: Promise<unknown> = testing.submitScripted(lane, 'a', 'c', script);
const handle: lanes.CommandHandle = testing.enqueueScripted(lane, 'a', 'c', script);
const log = new testing.SubmissionLog();
const clock: testing.ManualClock = new testing.ManualClock();
const steered: lanes.Lane = testing.createLane({ configs, clock, submissionLog: log, inline: true, dlqSize: 1 });
const left: Promise<number> = testing.drainNow(steered);
const submitted: testing.Submitted = log.assertSubmitted('a', 'c');
// @ts-expect-error a lane does not go by the time of a clock of its own
testing.createLane({ clock: new Date() });
// @ts-expect-error read only
clock.elapsedMs = 1;
// @ts-expect-error no such method
lane.submitted();

export = { text, code, handle, result, left, submitted };
