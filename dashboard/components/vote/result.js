// What the votes say. It is asked for only when somebody wants to see it, and then again as long as votes are counted.

import { button, fit, make, mark, scrollByKeyboard, set, show, write } from "./dom.js"
import { address, Feed } from "./poll.js"

export class Result {
  constructor() {
    this.opener = button("opener", () => this.open(!this.isOpen))
    this.warning = make("p", "hint")
    this.headline = make("h2")
    this.sentence = make("p", "sentence")
    this.counting = make("p", "hint")
    this.stepsName = make("caption")
    this.steps = make("tbody")
    this.stepsHead = make("tr", "", ...["", "", "", ""].map(() => make("th")))
    this.trust = make("p", "trust")
    this.metricsName = make("caption")
    this.metrics = make("tbody")
    this.metricsHead = make("tr", "", ...["", "", ""].map(() => make("th")))
    this.voters = make("p", "hint")
    this.problems = make("ul", "problems")
    this.tables = [
      make("table", "", this.stepsName, make("thead", "", this.stepsHead), this.steps),
      make("table", "", this.metricsName, make("thead", "", this.metricsHead), this.metrics),
    ]
    const [steps, metrics] = this.tables.map((table) => scrollByKeyboard(make("div", "wide", table)))
    this.body = make("div", "said", this.headline, this.sentence, this.counting, steps, this.trust, metrics, this.voters, this.problems)
    this.root = make("section", "result", this.opener, this.warning, this.body)
    this.feed = new Feed(({ is_counting: isCounting }) => isCounting, { live: 2, quiet: 10 })
  }

  of(run, lang, words) {
    this.words = words
    this.url = address(`votes/${encodeURIComponent(run)}.json`, { lang })
    this.feed.forget()
    this.feed.url = ""
    this.open(false)
  }

  open(isOpen) {
    this.isOpen = isOpen
    write(this.opener, isOpen ? this.words.hideResult : this.words.showResult)
    set(this.opener, "aria-expanded", isOpen)
    write(this.warning, this.words.askResult)
    show(this.warning, !isOpen)
    show(this.body, isOpen)
    this.end?.()
    this.end = isOpen ? this.feed.follow((state) => this.draw(state)) : null
    if (isOpen) this.feed.url === this.url ? this.feed.look() : this.feed.ask(this.url, true)
  }

  draw({ content, trouble, isOffline }) {
    const { words } = this
    mark(this.body, "dimmed", isOffline || trouble)
    write(this.counting, trouble?.error ?? (content?.is_counting ? words.counting : ""))
    if (!content) return
    write(this.headline, content.headline)
    write(this.sentence, content.sentence)
    show(this.tables[0].parentElement, content.steps.length)
    show(this.tables[1].parentElement, content.metrics.length)
    write(this.stepsName, content.is_alone ? words.strengthAlone : words.strength)
    head(this.stepsHead, [words.snapshot, "", words.chance, words.votes])
    write(this.metricsName, words.agreement)
    head(this.metricsHead, [words.metric, "", words.votes])
    this.drawSteps(content.steps)
    this.drawMetrics(content.metrics)
    write(this.trust, content.trust)
    write(this.voters, content.voters && `${words.voters}: ${content.voters}`)
    fit(this.problems, content.problems.length, () => make("li")).forEach((node, at) => write(node, `${words.problems}: ${content.problems[at]}`))
  }

  drawSteps(steps) {
    const ends = [0, ...steps.flatMap(({ low, high }) => [low, high])]
    const [from, to] = [Math.min(...ends), Math.max(...ends)]
    fit(this.steps, steps.length, () => makeRow(4)).forEach((row, at) => {
      const { title, strength, low, high, chance, counted, is_favourite: isFavourite } = steps[at]
      const [name, bar, best, votes] = row.children
      mark(row, "favourite", isFavourite)
      write(name, isFavourite ? `${title} ★` : title)
      drawBar(bar.firstChild, { at: strength, low, high, line: 0 }, from, to)
      set(bar, "title", `${strength.toFixed(2)} (${low.toFixed(2)} … ${high.toFixed(2)})`)
      write(bar.lastChild, `${strength.toFixed(2)} (${low.toFixed(2)} … ${high.toFixed(2)})`)
      write(best, chance)
      write(votes, counted)
    })
  }

  drawMetrics(metrics) {
    fit(this.metrics, metrics.length, () => makeRow(3)).forEach((row, at) => {
      const { title, share, low, high, words } = metrics[at]
      const [name, bar, votes] = row.children
      write(name, title)
      drawBar(bar.firstChild, { at: share, low, high, line: 0.5 }, 0, 1)
      write(bar.lastChild, `${percent(share)} (${percent(low)} … ${percent(high)})`)
      write(votes, words)
    })
  }

  leave() {
    this.end?.()
  }
}

const percent = (share) => `${Math.round(100 * share)} %`

function head(row, titles) {
  titles.forEach((title, at) => write(row.children[at], title))
}

function makeRow(count) {
  const name = make("th")
  name.scope = "row"
  const bar = make("td", "bar", make("span", "track", make("i", "line"), make("i", "range"), make("i", "dot")), make("span", "ends"))
  return make("tr", "", name, bar, ...Array.from({ length: count - 2 }, () => make("td")))
}

function drawBar(track, { at, low, high, line }, from, to) {
  const place = (value) => `${(100 * (value - from)) / (to - from || 1)}%`
  const [mid, range, dot] = track.children
  mid.style.left = place(line)
  range.style.left = place(low)
  range.style.width = `${(100 * (high - low)) / (to - from || 1)}%`
  dot.style.left = place(at)
}
