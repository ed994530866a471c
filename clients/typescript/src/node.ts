/** The entry for Node.js: runs follow `await` by themselves, and the program's end waits a moment for the delivery. */

import { NODE } from "./platforms/node.js";
import { Towerlog as Base, type TowerlogOptions } from "./towerlog.js";

export * from "./exports.js";

export class Towerlog extends Base {
  constructor(options: TowerlogOptions = {}) {
    super(NODE, options);
  }
}
