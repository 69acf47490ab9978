// Has a panel drawn again when the parts of the run folder that it shows have other versions than those it was drawn with.
// The versions come with what poll.js asks for anyway. A timer runs only while a panel is due later.

import { follow } from "./poll.js"

const watchers = new WeakMap() // node → Watcher

class Watcher {
  constructor() {
    this.leave = follow(({ screen }) => this.take(screen))
  }

  // data: {run, parts, drawn, seconds, again}; see watch.py.
  update(data, tell) {
    const isNew = this.data?.drawn !== data.drawn || this.data?.run !== data.run
    if (isNew) Object.assign(this, { since: performance.now(), told: undefined })
    Object.assign(this, { data, tell })
    this.check()
  }

  take(screen) {
    this.screen = screen
    if (this.data) this.check()
  }

  check() {
    clearTimeout(this.timer)
    const { run, parts, drawn, seconds, again } = this.data
    const versions = this.screen?.run === run ? this.screen.versions : null
    const found = versions ? parts.map((part) => versions[part]).join("-") : drawn
    const isChanged = found !== drawn && found !== this.told
    const dueSeconds = Math.min(isChanged ? seconds : Infinity, again ?? Infinity)
    if (dueSeconds === Infinity) return
    const milliseconds = 1000 * dueSeconds - (performance.now() - this.since)
    if (milliseconds > 0 || document.hidden || !isConnected()) {
      this.timer = setTimeout(() => this.check(), Math.max(500, milliseconds))
      return
    }
    Object.assign(this, { since: performance.now(), told: found })
    this.tell(`${found} ${this.since}`)
    if (again) this.check()
  }
}

function isConnected() {
  return document.querySelector("[data-test-connection-state]")?.dataset.testConnectionState === "CONNECTED"
}

export function watch({ data, parentElement, setTriggerValue }) {
  const node = parentElement.querySelector(".darkroom-watch")
  if (!watchers.has(node)) watchers.set(node, new Watcher())
  const watcher = watchers.get(node)
  watcher.update(data, (version) => setTriggerValue("changed", version))
  return () => {
    clearTimeout(watcher.timer)
    watcher.leave()
    watchers.delete(node)
  }
}
