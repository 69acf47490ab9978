// Has a panel drawn again when the parts of the run folder that it shows have other versions than those it was drawn with.
// The versions of the run that the bar shows come with what poll.js asks for anyway; those of another one are asked for. A timer
// runs only while a panel is due later.

import { address, Feed, follow } from "./poll.js"

const OTHERS = { live: 5, quiet: 30 } // seconds
const watchers = new WeakMap() // node → Watcher

class Watcher {
  constructor(isAnother) {
    this.feed = isAnother ? new Feed(({ live }) => live, OTHERS) : null
    this.leave = this.feed ? this.feed.follow(({ content }) => this.take(content)) : follow(({ screen }) => this.take(screen))
  }

  // data: {run, parts, drawn, seconds, again, isAnother}; see watch.py.
  update(data, tell) {
    this.feed?.ask(address(`versions/${encodeURIComponent(data.run)}.json`, { parts: data.parts }))
    const isNew = this.data?.drawn !== data.drawn || this.data?.run !== data.run
    if (isNew) Object.assign(this, { since: performance.now(), told: undefined })
    Object.assign(this, { data, tell })
    this.check()
  }

  take(known) {
    this.known = known
    if (this.data) this.check()
  }

  check() {
    clearTimeout(this.timer)
    const { run, parts, drawn, seconds, again } = this.data
    const versions = this.known?.run === run ? this.known.versions : null
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
  if (!watchers.has(node)) watchers.set(node, new Watcher(data.isAnother))
  const watcher = watchers.get(node)
  watcher.update(data, (version) => setTriggerValue("changed", version))
  return () => {
    clearTimeout(watcher.timer)
    watcher.leave()
    watchers.delete(node)
  }
}
