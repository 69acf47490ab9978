// All runs as cards. Data: {lang, run, view: {filter, sort, ticked}, words}; see __init__.py. The cards come from
// `cards.json`. What is sought and ticked goes to Python, which keeps it in the address.

import { button, fit, make, mark, mount, onPlainClick, set, show, showImage, write } from "./dom.js"
import { Editor } from "./editor.js"
import { address, Feed } from "./poll.js"

const SECONDS = { live: 5, quiet: 30 }
const TYPING_MILLISECONDS = 600
const MAX_COMPARED = 4
const ORDERS = {
  newest: (one, other) => (other.created > one.created) - (other.created < one.created),
  name: (one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }),
  wins: (one, other) => share(other) - share(one),
  duration: (one, other) => (other.seconds ?? -1) - (one.seconds ?? -1),
}
class Runs {
  constructor(root) {
    this.root = root
    this.cards = []
    this.ticked = new Set()
    this.filter = make("input", "filter")
    this.filter.type = "search"
    this.filter.oninput = () => this.look(TYPING_MILLISECONDS)
    this.order = make("select", "order")
    this.order.append(...Object.keys(ORDERS).map((name) => Object.assign(make("option"), { value: name })))
    this.order.onchange = () => this.look()
    this.orderName = make("span")
    this.hint = make("span", "hint")
    this.compare = button("compare primary", () => this.ask({ do: "compare", runs: [...this.ticked] }))
    this.compare.disabled = true // until the cards are there
    const sorted = make("label", "sorted", this.orderName, this.order)
    this.list = make("ul", "cards")
    this.none = make("p", "none")
    this.editor = new Editor(() => this.feed.look())
    root.append(make("div", "tools", this.filter, sorted, this.hint, this.compare), this.none, this.list, this.editor.root)
    this.feed = new Feed((cards) => cards.some(({ live }) => live), SECONDS)
    this.end = this.feed.follow((state) => this.take(state))
  }

  update(data, tell) {
    this.tell = tell
    if (!this.data) {
      this.filter.value = data.view.filter ?? ""
      this.order.value = data.view.sort || "newest"
      this.ticked = new Set(data.view.ticked ?? [])
    }
    this.data = data
    const { words } = data
    set(this.filter, "placeholder", words.filter)
    set(this.filter, "aria-label", words.filter)
    write(this.orderName, words.sort)
    for (const option of this.order.children) write(option, words[option.value])
    write(this.compare, words.compare)
    write(this.hint, words.tickTwo)
    this.feed.ask(address("cards.json", { lang: data.lang }))
    if (this.isThere) this.draw()
  }

  take({ content, isOffline, trouble }) {
    if (content) this.cards = content
    this.isThere = Boolean(content)
    this.isOffline = isOffline || Boolean(trouble)
    this.draw()
  }

  // Drawn at once, told a little later where somebody may still be typing.
  look(milliseconds = 0) {
    this.draw()
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.ask({ do: "look" }), milliseconds)
  }

  ask(what) {
    clearTimeout(this.timer)
    const sort = this.order.value === "newest" ? "" : this.order.value
    this.tell({ ...what, view: { filter: this.filter.value.trim(), sort, ticked: [...this.ticked] } })
  }

  draw() {
    const { words } = this.data
    const names = new Set(this.cards.map(({ name }) => name))
    if (this.isThere) for (const name of this.ticked) if (!names.has(name)) this.ticked.delete(name)
    const wanted = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean)
    const shown = this.cards.filter((card) => wanted.every((word) => isFound(card, word)))
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
    const [link, tick, state, verdict, said, settings] = node.children
    const [image, name] = link.children
    node.dataset.tone = card.tone
    node.dataset.verdict = card.headline_tone
    showImage(image, card.thumbnail)
    write(name, card.name)
    set(link, "href", `.?run=${encodeURIComponent(card.name)}`)
    onPlainClick(link, () => this.ask({ do: "open", run: card.name }))
    const box = tick.firstChild
    set(box, "aria-label", words.choose.replace("{run}", card.name))
    box.checked = this.ticked.has(card.name)
    box.disabled = !box.checked && this.ticked.size >= MAX_COMPARED
    box.onchange = () => {
      this.ticked[box.checked ? "add" : "delete"](card.name)
      this.look()
    }
    write(state.lastChild, card.state.join(" · "))
    const [headline, won] = verdict.children
    const step = card.best === null || card.headline.includes(card.best) ? "" : card.best_words
    const time = card.state.some((part) => part.includes(card.duration)) ? "" : card.duration
    write(headline, card.headline)
    write(won, [step, card.won && `▲ ${card.won}`, time].filter(Boolean).join(" · "))
    this.drawSaid(said, card)
    set(settings, "aria-label", words.settings)
    fit(settings, card.settings.length, () => make("li", "", make("span"), make("b"))).forEach((line, index) => {
      const { name: setting, value, words: called, short } = card.settings[index]
      write(line.firstChild, called)
      write(line.lastChild, short)
      set(line, "title", `${setting} = ${value}`)
    })
    mark(node, "ticked", box.checked)
  }

  // Tags, each of which filters by itself, the note, and what opens both to be changed.
  drawSaid(node, { name, created, tags, note, notes_trouble: trouble }) {
    const { words } = this.data
    const [tagList, text, edit] = node.children
    fit(tagList, tags.length, () => button("tag")).forEach((one, index) => {
      write(one, `#${tags[index]}`)
      set(one, "title", words.filterByTag)
      one.onclick = () => {
        this.filter.value = `#${tags[index]}`
        this.look()
      }
    })
    write(text, note)
    set(text, "title", note)
    show(edit, created) // a run that cannot be read has none
    write(edit, tags.length || note ? words.edit : words.addNote)
    set(edit, "aria-label", words.editOf.replace("{run}", name))
    edit.onclick = () => this.editor.open({ name, tags, note, trouble }, words)
  }

  leave() {
    clearTimeout(this.timer)
    this.end()
  }
}

const share = ({ wins, of }) => (of ? wins / of : -1)

// `#look` finds the tag `look`, any other word a part of what the card says.
function isFound({ name, state, headline, settings, tags, note }, word) {
  if (word.startsWith("#") && word.length > 1) return tags.some((tag) => `#${tag}`.toLowerCase() === word)
  const said = [name, ...state, headline, note, ...tags, ...settings.flatMap((one) => [`${one.name}=${one.value}`, `${one.words} ${one.short}`])]
  return said.join(" ").toLowerCase().includes(word)
}

function makeCard() {
  const image = make("img")
  image.hidden = true
  image.alt = ""
  const box = make("input")
  box.type = "checkbox"
  const link = make("a", "open", image, make("b"))
  const state = make("p", "state", make("span", "dot"), make("span"))
  return make("li", "card", link, make("label", "tick", box), state, make("p", "verdict-line", make("b"), make("span")), make("div", "said", make("span", "tags"), make("p", "about"), button("edit")), make("ul", "settings"))
}

export const runs = (component) => mount(component, "darkroom-runs", Runs)
