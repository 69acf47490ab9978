// The machine at this moment and the programs of the run.
// Data: {run, lang, heading}; see __init__.py.

import { fit, make, mount, scrollByKeyboard, set, show, write } from "./dom.js"
import { address, Feed } from "./poll.js"

const FIELDS = ["name", "state", "remark", "step", "pid", "host", "started"]
class Machine {
  constructor(root) {
    this.gauges = make("div", "gauges")
    this.heading = make("h2")
    this.heading.hidden = true // until what stands above it is there
    this.head = make("tr")
    this.rows = make("tbody")
    root.append(this.gauges, this.heading, scrollByKeyboard(make("div", "wide", make("table", "", make("thead", "", this.head), this.rows))))
    this.feed = new Feed(({ live }) => live)
    this.leave = this.feed.follow(({ content }) => content && this.draw(content))
  }

  update({ run, lang, heading }) {
    write(this.heading, heading)
    this.feed.ask(address(`machine/${encodeURIComponent(run)}.json`, { lang }), run !== this.run)
    this.run = run
  }

  draw({ gauges, titles, programs }) {
    show(this.heading, true)
    fit(this.gauges, gauges.length, makeGauge).forEach((gauge, index) => {
      const { name, share, text } = gauges[index]
      const [[title, value], bar] = [gauge.children[0].children, gauge.children[1]]
      write(title, name)
      write(value, text)
      set(bar, "value", share)
      set(bar, "aria-label", `${name}: ${text}`)
    })
    fit(this.head, titles.length, () => make("th")).forEach((cell, index) => write(cell, titles[index]))
    fit(this.rows, programs.length, () => make("tr")).forEach((row, index) => {
      const program = programs[index]
      row.dataset.tone = program.tone
      fit(row, FIELDS.length, () => make("td")).forEach((cell, place) => write(cell, program[FIELDS[place]]))
    })
  }
}

const makeGauge = () => {
  const bar = make("progress")
  bar.max = 1
  return make("div", "gauge", make("p", "", make("b"), make("span")), bar)
}

export const machine = (component) => mount(component, "darkroom-machine", Machine)
