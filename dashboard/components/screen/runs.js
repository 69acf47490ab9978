// All runs as cards. Data: {lang, run, words}; see __init__.py. It asks for `cards.json` itself: often while a program is
// at work on one of them, rarely otherwise, never while its tab is hidden; what has not changed is not sent again.

import { button, fit, make, mark, onPlainClick, set, show, write } from "./dom.js"

const LIVE_SECONDS = 5
const QUIET_SECONDS = 30
const MAX_COMPARED = 4
const ORDERS = {
  newest: (one, other) => (other.created > one.created) - (other.created < one.created),
  name: (one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }),
  wins: (one, other) => share(other) - share(one),
  duration: (one, other) => (other.seconds ?? -1) - (one.seconds ?? -1),
}
const pages = new WeakMap() // root element → Runs

class Runs {
  constructor(root) {
    this.root = root
    this.cards = []
    this.ticked = new Set()
    this.tag = ""
    this.filter = make("input", "filter")
    this.filter.type = "search"
    this.filter.oninput = () => this.draw()
    this.order = make("select", "order")
    this.order.append(...Object.keys(ORDERS).map((name) => Object.assign(make("option"), { value: name })))
    this.order.onchange = () => this.draw()
    this.orderName = make("span")
    this.hint = make("span", "hint")
    this.compare = button("compare primary", () => this.tell({ do: "compare", runs: [...this.ticked] }))
    const sorted = make("label", "sorted", this.orderName, this.order)
    this.list = make("ul", "cards")
    this.none = make("p", "none")
    root.append(make("div", "tools", this.filter, sorted, this.hint, this.compare), this.none, this.list)
    this.seen = () => this.look()
    document.addEventListener("visibilitychange", this.seen)
  }

  update(data, tell) {
    this.tell = tell
    const isOther = data.lang !== this.data?.lang
    this.data = data
    const { words } = data
    set(this.filter, "placeholder", words.filter)
    set(this.filter, "aria-label", words.filter)
    write(this.orderName, words.sort)
    for (const option of this.order.children) write(option, words[option.value])
    write(this.compare, words.compare)
    write(this.hint, words.tickTwo)
    if (isOther) {
      this.tag = ""
      this.look()
    }
  }

  async look() {
    clearTimeout(this.timer)
    if (document.hidden || this.isGone) return
    const query = new URLSearchParams({ lang: this.data.lang, zone: Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC" })
    try {
      const headers = this.tag ? { "If-None-Match": this.tag } : {}
      const answer = await fetch(`cards.json?${query}`, { cache: "no-store", headers })
      if (answer.ok) {
        this.cards = await answer.json()
        this.tag = answer.headers.get("ETag") ?? ""
      }
      this.isOffline = !answer.ok && answer.status !== 304
      if (answer.status !== 304 || this.wasOffline) this.draw()
    } catch {
      this.isOffline = true
      this.draw()
    }
    this.wasOffline = this.isOffline
    clearTimeout(this.timer)
    const isMoving = this.isOffline || this.cards.some(({ live }) => live)
    if (!this.isGone) this.timer = setTimeout(() => this.look(), 1000 * (isMoving ? LIVE_SECONDS : QUIET_SECONDS))
  }

  draw() {
    const { words } = this.data
    const names = new Set(this.cards.map(({ name }) => name))
    for (const name of this.ticked) if (!names.has(name)) this.ticked.delete(name)
    const wanted = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean)
    const shown = this.cards.filter((card) => wanted.every((word) => textOf(card).includes(word)))
    shown.sort(ORDERS[this.order.value] ?? ORDERS.newest)
    fit(this.list, shown.length, makeCard).forEach((node, index) => this.drawCard(node, shown[index]))
    write(this.none, this.isOffline ? words.offline : words.none)
    show(this.none, this.isOffline || (this.cards.length && !shown.length))
    this.drawTools()
  }

  drawTools() {
    this.compare.disabled = this.ticked.size < 2
    show(this.hint, this.cards.length > 1 && this.ticked.size < 2)
    show(this.compare, this.cards.length > 1)
  }

  drawCard(node, card) {
    const { words } = this.data
    const [link, tick, state, verdict, settings] = node.children
    const [image, name] = link.children
    node.dataset.tone = card.tone
    node.dataset.verdict = card.headline_tone
    show(image, card.thumbnail)
    if (card.thumbnail) set(image, "src", card.thumbnail)
    else set(image, "src", null)
    write(name, card.name)
    set(link, "href", `.?run=${encodeURIComponent(card.name)}`)
    onPlainClick(link, () => this.tell({ do: "open", run: card.name }))
    const box = tick.firstChild
    set(box, "aria-label", words.choose.replace("{run}", card.name))
    box.checked = this.ticked.has(card.name)
    box.disabled = !box.checked && this.ticked.size >= MAX_COMPARED
    box.onchange = () => {
      this.ticked[box.checked ? "add" : "delete"](card.name)
      this.draw()
    }
    write(state.lastChild, card.state.join(" · "))
    const [headline, won] = verdict.children
    const step = card.best === null || card.headline.includes(card.best) ? "" : words.bestStep.replace("{step}", card.best)
    const time = card.state.some((part) => part.includes(card.duration)) ? "" : card.duration
    write(headline, card.headline)
    write(won, [step, card.won && `▲ ${card.won}`, time].filter(Boolean).join(" · "))
    set(settings, "aria-label", words.settings)
    fit(settings, card.settings.length, () => make("li", "", make("span"), make("b"))).forEach((line, index) => {
      const { name: setting, value } = card.settings[index]
      write(line.firstChild, setting.split(".").at(-1))
      write(line.lastChild, value)
      set(line, "title", `${setting} = ${value}`)
    })
    mark(node, "ticked", box.checked)
  }

  leave() {
    this.isGone = true
    clearTimeout(this.timer)
    document.removeEventListener("visibilitychange", this.seen)
  }
}

const share = ({ wins, of }) => (of ? wins / of : -1)

function textOf({ name, state, headline, settings }) {
  return [name, ...state, headline, ...settings.map((one) => `${one.name}=${one.value}`)].join(" ").toLowerCase()
}

function makeCard() {
  const image = make("img")
  image.alt = ""
  const box = make("input")
  box.type = "checkbox"
  const link = make("a", "open", image, make("b"))
  const state = make("p", "state", make("span", "dot"), make("span"))
  return make("li", "card", link, make("label", "tick", box), state, make("p", "verdict-line", make("b"), make("span")), make("ul", "settings"))
}

export function runs({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".darkroom-runs")
  if (!pages.has(root)) pages.set(root, new Runs(root))
  const shown = pages.get(root)
  shown.update(data, (what) => setTriggerValue("asked", what))
  return () => {
    shown.leave()
    pages.delete(root)
    root.replaceChildren()
  }
}
