/** The entry for browsers. A key in a page is everybody's: give it the scope `read`, or use the session of a member. */

import { BROWSER } from "./platforms/browser.js";
import { Towerlog as Base, type TowerlogOptions } from "./towerlog.js";

export * from "./exports.js";

export class Towerlog extends Base {
  constructor(options: TowerlogOptions = {}) {
    super(BROWSER, options);
  }
}
