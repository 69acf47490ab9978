// The pictures of a data set with their captions, a page of them at a time.
// Data: {run, lang, view: {find, split, only, page}, words}; see __init__.py. The rows come from `data/<run>.json`, what a
// person changes goes to `captions/<run>.json`. What is sought goes to Python, which keeps it in the address.

import { Captioner } from "./captioner.js"
import { Changes } from "./changes.js"
import { button, fit, make, mark, mount, set, show, write } from "./dom.js"
import { LargePicture } from "./large.js"
import { makePair, Pair } from "./pair.js"
import { address, Feed } from "./poll.js"
import { post } from "./post.js"
import { Replacement } from "./replacement.js"

const SECONDS = { live: 3, quiet: 30 }
const TYPING_MILLISECONDS = 300
class Dataset {
  constructor(root) {
    this.root = root
    this.drafts = new Map() // id → {text, seen}: captions that are not saved
    this.heading = make("h1")
    this.place = make("p", "place")
    this.notes = make("ul", "notes")
    this.find = make("input", "find")
    this.find.type = "search"
    this.find.oninput = () => this.seek(TYPING_MILLISECONDS)
    this.split = make("select")
    this.only = make("select")
    for (const one of [this.split, this.only]) one.onchange = () => this.seek()
    this.splitLabel = make("label", "", make("span"), this.split)
    this.onlyLabel = make("label", "", make("span"), this.only)
    this.replacement = new Replacement((what) => this.send(what))
    this.changes = new Changes((what) => this.send(what))
    this.captioner = new Captioner((what) => this.send(what))
    this.large = new LargePicture()
    this.writeCaptions = button("", () => this.captioner.open(this.data.words, this.shown))
    this.work = make("span")
    set(this.work, "role", "status")
    this.stop = button("plain", () => this.send({ do: "stop-captioner" }))
    this.replace = button("", () => this.replacement.open(this.data, this.shown))
    this.history = button("", () => this.changes.open(this.data, this.shown))
    this.status = make("span")
    set(this.status, "role", "status")
    this.trouble = make("span", "trouble")
    set(this.trouble, "role", "alert")
    this.unsaved = make("span")
    this.undo = button("plain", () => this.takeBack())
    this.none = make("p", "none")
    this.list = make("ul", "pictures")
    this.pagers = [0, 1].map(() => this.makePager())
    const tools = make("div", "tools", this.find, this.splitLabel, this.onlyLabel, this.replace, this.writeCaptions, this.history)
    const said = make("div", "said", this.status, this.undo, this.trouble, this.unsaved, this.work, this.stop)
    root.append(this.heading, this.place, this.notes, tools, said, this.pagers[0], this.none, this.list, this.pagers[1])
    root.append(this.replacement.root, this.changes.root, this.captioner.root, this.large.root)
    this.feed = new Feed(({ captioner }) => captioner.is_at_work, SECONDS)
    this.end = this.feed.follow((state) => this.take(state))
    this.warn = (event) => this.drafts.size && event.preventDefault()
    addEventListener("beforeunload", this.warn)
  }

  makePager() {
    const pager = make("nav", "pager", button("", () => this.turn(-1)), make("span"), button("", () => this.turn(1)))
    write(pager.firstChild, "‹")
    write(pager.lastChild, "›")
    return pager
  }

  update(data, tell) {
    this.tell = tell
    const isOther = this.data?.run !== data.run
    const { words } = data
    if (isOther) {
      const { find, split, only, page } = data.view
      this.view = { find: find ?? "", split: split ?? "", only: only ?? "", page: page ?? 1 }
      this.find.value = this.view.find
      this.drafts.clear()
      this.say("")
    }
    this.data = data
    write(this.heading, words.heading)
    set(this.find, "placeholder", words.find)
    set(this.find, "aria-label", words.find)
    set(this.split, "aria-label", words.split) // a phone has no place for the labels
    set(this.only, "aria-label", words.only)
    write(this.splitLabel.firstChild, words.split)
    write(this.onlyLabel.firstChild, words.only)
    write(this.replace, words.replaceTags)
    write(this.history, words.changes)
    write(this.writeCaptions, words.writeCaptions)
    write(this.stop, words.stopWriting)
    write(this.undo, words.undo)
    for (const pager of this.pagers) {
      set(pager.firstChild, "aria-label", words.previous)
      set(pager.lastChild, "aria-label", words.next)
    }
    this.options(this.split, { "": words.anySplit, ...words.splits }, this.view.split)
    this.options(this.only, { "": words.anyKind, ...words.kinds }, this.view.only)
    this.ask(isOther)
    if (!this.shown) {
      write(this.none, words.loading)
      show(this.none, true)
      for (const node of [...this.pagers, this.undo]) show(node, false)
      this.replace.disabled = this.history.disabled = this.writeCaptions.disabled = true
      show(this.stop, false)
    } else this.draw()
  }

  // counts: option → how many there are; those of which there is none are left out, unless chosen.
  options(select, names, chosen, counts = {}) {
    const wanted = Object.entries(names).filter(([name]) => !name || name === chosen || counts[name] !== 0)
    fit(select, wanted.length, () => make("option")).forEach((option, index) => {
      const [name, text] = wanted[index]
      option.value = name
      write(option, counts[name] === undefined ? text : `${text} (${counts[name]})`)
    })
    if (document.activeElement !== select) select.value = chosen
  }

  ask(isOther = false) {
    const { find, split, only, page } = this.view
    const question = { lang: this.data.lang, find: find || null, split: split || null, only: only || null, page }
    this.feed.ask(address(`data/${encodeURIComponent(this.data.run)}.json`, question), isOther)
  }

  seek(milliseconds = 0) {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.look({ find: this.find.value.trim(), split: this.split.value, only: this.only.value, page: 1 })
    }, milliseconds)
  }

  look(view) {
    this.view = { ...this.view, ...view }
    this.ask()
    this.tell({ do: "look", view: this.view })
  }

  turn(by) {
    this.look({ page: (this.shown?.page ?? 1) + by })
    this.isTurned = true
  }

  take({ content, isOffline, trouble }) {
    if (content) this.shown = content
    this.isOffline = isOffline
    this.refusal = trouble
    if (this.data) this.draw()
  }

  draw() {
    const { words } = this.data
    const shown = this.shown
    if (this.isOffline) this.fail(words.offline)
    else if (this.refusal) this.fail([this.refusal.error, this.refusal.hint].filter(Boolean).join(" "))
    else if (this.isFailing) this.fail("")
    if (!shown) return
    this.options(this.split, { "": words.anySplit, ...words.splits }, this.view.split, shown.splits)
    this.options(this.only, { "": words.anyKind, ...words.kinds }, this.view.only, shown.kinds)
    write(this.place, shown.place)
    const notes = [shown.fixed, ...shown.notes].filter(Boolean)
    fit(this.notes, notes.length, () => make("li")).forEach((node, index) => write(node, notes[index]))
    this.replace.disabled = Boolean(shown.fixed) || !shown.total
    this.history.disabled = !shown.total
    this.writeCaptions.disabled = Boolean(shown.fixed) || !shown.total || shown.captioner.is_at_work
    write(this.work, shown.captioner.words)
    show(this.stop, shown.captioner.is_at_work)
    const range = words.range.replace("{first}", shown.found ? shown.start + 1 : 0).replace("{last}", shown.start + shown.rows.length).replace("{count}", shown.found)
    for (const pager of this.pagers) {
      pager.firstChild.disabled = shown.page <= 1
      pager.lastChild.disabled = shown.page >= shown.pages
      write(pager.children[1], range)
    }
    show(this.pagers[0], shown.found)
    show(this.pagers[1], shown.pages > 1)
    write(this.none, shown.total ? words.none : words.empty)
    show(this.none, !shown.found)
    fit(this.list, shown.rows.length, makePair).forEach((node, index) => this.pairOf(node).draw(shown.rows[index], this.drafts, words, shown.fixed))
    this.countDrafts()
    if (this.isTurned) this.pagers[0].scrollIntoView({ block: "nearest" })
    this.isTurned = false
  }

  pairOf(node) {
    node.pair ??= new Pair(node, {
      save: (row) => this.save(row),
      drafted: () => this.countDrafts(),
      enlarge: (row) => this.large.open(this.shown.rows, row, this.data.words),
      alike: (row) => {
        this.find.value = row.group
        this.only.value = "alike"
        this.look({ find: row.group, split: "", only: "alike", page: 1 })
      },
    })
    return node.pair
  }

  countDrafts() {
    write(this.unsaved, this.drafts.size ? this.data.words.unsaved.replace("{count}", this.drafts.size) : "")
  }

  async save(row) {
    const draft = this.drafts.get(row.id)
    if (!draft || draft.isSending) return
    draft.isSending = true
    const said = await this.send({ do: "edit", id: row.id, caption: draft.text, seen: draft.seen })
    draft.isSending = false
    if (said && !said.error) this.drafts.delete(row.id)
    else if (typeof said?.caption === "string") Object.assign(draft, { seen: said.caption, theirs: said.caption })
    this.draw()
  }

  takeBack() {
    if (this.last) this.send({ do: "undo", change: this.last })
  }

  // Returns what the server says, with {error} where nothing was changed.
  async send(what) {
    const { run, lang, words } = this.data
    const said = await post(`captions/${encodeURIComponent(run)}.json?${new URLSearchParams({ lang })}`, { ...what, run_id: this.shown.run_id })
    if (!said || said.error) this.fail(said?.error ?? words.notSent)
    else {
      this.fail("")
      this.last = what.do === "undo" ? "" : said.change
      if (said.change === undefined) this.say("")
      else this.say(what.do === "undo" ? words.undone : said.count > 1 ? words.changedIn.replace("{count}", said.count) : words.saved)
    }
    await this.feed.look()
    return said
  }

  say(text) {
    write(this.status, text)
    show(this.undo, text && this.last)
  }

  fail(text) {
    this.isFailing = Boolean(text)
    write(this.trouble, text)
    if (text) this.say("")
  }

  leave() {
    clearTimeout(this.timer)
    removeEventListener("beforeunload", this.warn)
    this.end()
  }
}

export const dataset = (component) => mount(component, "darkroom-dataset", Dataset)
