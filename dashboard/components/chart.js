// A chart that asks for its figure by URL, and only then when what it shows has changed and somebody sees it.
// That something has changed, it learns from what poll.js asks for anyway; the server answers 304 if the figure has not.

import drawFigure from "./figure.js"
import { show, write, writeWithCode } from "./dom.js"
import { follow } from "./poll.js"

const charts = new Map() // root element → Chart
const windows = new Map() // group → the ends of what is zoomed

const NEAR = "100% 0px" // a chart is drawn before it comes into sight, so that nobody waits for it
const RETRY_SECONDS = 5
const sight = new IntersectionObserver(
  (entries) => entries.forEach(({ target, isIntersecting }) => charts.get(target)?.see(isIntersecting)),
  { rootMargin: NEAR },
)
document.addEventListener("visibilitychange", () => charts.forEach((chart) => chart.check()))

class Chart {
  constructor(root) {
    this.root = root
    this.node = root.querySelector(".darkroom-figure")
    this.words = root.querySelector(".darkroom-figure-absent")
    this.error = root.querySelector(".darkroom-figure-error")
    this.asked = -Infinity
    this.tag = ""
    this.leave = follow(({ screen }) => this.take(screen))
  }

  // data: {run, parts, url, group, fileName, plotly, height}; see figure.py.
  update(data, component) {
    this.component = component
    const isOther = data.url !== this.data?.url || data.group !== this.data?.group
    this.data = data
    if (!this.document) this.node.style.height = `${data.height}px`
    if (isOther) this.ask()
    else if (this.document) this.draw() // the theme may be another
    this.take(this.screen)
  }

  take(screen) {
    this.screen = screen
    if (!this.data || screen?.run !== this.data.run) return
    this.found = this.data.parts.map((part) => screen.versions[part]).join("-")
    this.check()
  }

  see(isSeen) {
    this.isSeen = isSeen
    this.check()
  }

  // Ask once it is due: a timer runs only while the chart is stale, or awaits what no version tells of.
  check() {
    clearTimeout(this.timer)
    if (!this.data || !this.isSeen || document.hidden || this.isAsking) return
    const { seconds = RETRY_SECONDS, again } = this.document ?? {}
    const dueSeconds = this.isStale || this.found !== this.shown ? seconds : (again ?? Infinity)
    if (dueSeconds === Infinity) return
    const milliseconds = 1000 * dueSeconds - (performance.now() - this.asked)
    if (milliseconds <= 0) this.fetch()
    else this.timer = setTimeout(() => this.check(), milliseconds)
  }

  // What is asked for is another figure than the one there is.
  ask() {
    this.request?.abort()
    Object.assign(this, { isStale: true, isAsking: false, asked: -Infinity, tag: "" })
    this.check()
  }

  async fetch() {
    const request = (this.request = new AbortController())
    Object.assign(this, { isAsking: true, isStale: false, asked: performance.now(), shown: this.found })
    try {
      const headers = this.tag ? { "If-None-Match": this.tag } : {}
      const answer = await fetch(this.address(), { cache: "no-store", headers, signal: request.signal })
      const isNew = answer.status !== 304
      const said = isNew ? await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` })) : null
      if (request !== this.request) return
      if (isNew) {
        this.tag = answer.ok ? (answer.headers.get("ETag") ?? "") : ""
        this.say(said)
      }
    } catch {
      if (request !== this.request) return
      this.isStale = true // asked for again; the bar says that the dashboard does not answer
    }
    this.isAsking = false
    this.check()
  }

  address() {
    const window_ = windows.get(this.data.group)
    return window_ ? `${this.data.url}&low=${window_[0]}&high=${window_[1]}` : this.data.url
  }

  say(said) {
    write(this.error, [said.error, said.hint].filter(Boolean).join(" "))
    show(this.error, said.error)
    if (said.error) return
    this.document = said
    show(this.node, said.figure)
    writeWithCode(this.words, said.absent?.text)
    show(this.words, said.absent)
    if (said.figure) this.draw()
  }

  draw() {
    const { figure, label } = this.document
    if (!figure) return
    const { group, fileName, plotly } = this.data
    this.remove = drawFigure({
      data: { figure, label, group, fileName, plotly },
      parentElement: this.root,
      setStateValue: (_, ends) => zoom(group, ends),
      setTriggerValue: (name, step) => this.component.setTriggerValue(name, step),
    })
  }
}

// All details of what is zoomed, for every chart of the group.
function zoom(group, ends) {
  if (ends) windows.set(group, ends)
  else windows.delete(group)
  for (const chart of charts.values()) if (chart.data?.group === group) chart.ask()
}

export function chart(component) {
  const root = component.parentElement.querySelector(".darkroom-chart")
  if (!charts.has(root)) {
    charts.set(root, new Chart(root))
    sight.observe(root)
  }
  const shown = charts.get(root)
  shown.update(component.data, component)
  return () => {
    clearTimeout(shown.timer)
    shown.request?.abort()
    shown.leave()
    shown.remove?.()
    sight.unobserve(root)
    charts.delete(root)
  }
}
