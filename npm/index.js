'use strict';

const { LaneError } = require('./lib/error.js');
const { Lane } = require('./lib/lane.js');

module.exports = { Lane, LaneError };
