'use strict';

const { LaneError } = require('./lib/error.js');
const { inspect } = require('./lib/kept.js');
const { Lane } = require('./lib/lane.js');

module.exports = { Lane, LaneError, inspect };
