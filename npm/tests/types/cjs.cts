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
// @ts-expect-error no such method
lane.submitted();

export = { text, code, handle, result };
