// A tag found and replaced in all captions: what would change is counted and shown before anything is.

import { button, fit, make, set, show, write } from "./dom.js"
import { address } from "./poll.js"

const TYPING_MILLISECONDS = 250

export class Replacement {
  // send(what): posts it, returns what the server says.
  constructor(send) {
    this.send = send
    this.title = make("h2")
    this.find = make("input")
    this.new = make("input")
    this.findLabel = make("label", "", make("span"), this.find)
    this.newLabel = make("label", "", make("span"), this.new)
    this.hint = make("p", "hint")
    this.ways = ["tag", "text"].map((how) => {
      const box = Object.assign(make("input"), { type: "radio", name: "darkroom-how", value: how, checked: how === "tag" })
      box.onchange = () => this.look()
      return make("label", "", box, make("span"))
    })
    for (const field of [this.find, this.new]) field.oninput = () => this.look(TYPING_MILLISECONDS)
    this.count = make("p", "count")
    set(this.count, "role", "status")
    this.trouble = make("p", "trouble")
    set(this.trouble, "role", "alert")
    this.rows = make("ul")
    this.apply = make("button", "primary")
    this.close = button("", () => this.root.close())
    const form = make("form", "", this.title, this.findLabel, this.newLabel, this.hint, make("div", "ways", ...this.ways), this.count, this.trouble, this.rows, make("div", "end", this.close, this.apply))
    form.onsubmit = (event) => {
      event.preventDefault()
      this.replace()
    }
    this.root = make("dialog", "replacement", form)
    set(this.root, "aria-modal", "true")
    this.root.onkeydown = (event) => event.stopPropagation()
  }

  open(data, shown) {
    Object.assign(this, { data, shown, seen: null })
    const { words } = data
    write(this.title, words.replaceTags)
    set(this.root, "aria-label", words.replaceTags)
    write(this.findLabel.firstChild, words.findTag)
    write(this.newLabel.firstChild, words.replaceBy)
    write(this.hint, words.replaceHint)
    this.ways.forEach((label, index) => write(label.lastChild, [words.wholeTag, words.anyText][index]))
    write(this.close, words.close)
    write(this.trouble, "")
    this.look()
    this.root.showModal()
  }

  get asked() {
    return { find: this.find.value, replace: this.new.value, how: this.ways.find(({ firstChild }) => firstChild.checked).firstChild.value }
  }

  look(milliseconds = 0) {
    clearTimeout(this.timer)
    this.draw(null)
    if (this.find.value.trim()) this.timer = setTimeout(() => this.preview(), milliseconds)
  }

  async preview() {
    const asked = this.asked
    const url = address(`data/${encodeURIComponent(this.data.run)}/replaced.json`, { lang: this.data.lang, ...asked })
    const answer = await fetch(url, { cache: "no-store" }).catch(() => null)
    const said = await answer?.json().catch(() => null)
    if (JSON.stringify(asked) !== JSON.stringify(this.asked)) return
    write(this.trouble, answer?.ok ? "" : (said?.error ?? this.data.words.offline))
    this.draw(answer?.ok ? said : null)
  }

  draw(seen) {
    this.seen = seen
    write(this.count, seen?.words ?? "")
    write(this.apply, this.data.words.replaceIn.replace("{count}", seen?.count ?? 0))
    this.apply.disabled = !seen?.count || Boolean(seen.emptied)
    fit(this.rows, seen?.rows.length ?? 0, () => make("li", "", make("b"), make("del"), make("ins"))).forEach((node, index) => {
      const { id, before, after } = seen.rows[index]
      ;[id, before, after || "–"].forEach((text, at) => write(node.children[at], text))
    })
    show(this.rows, seen?.rows.length)
  }

  async replace() {
    if (this.apply.disabled) return
    this.apply.disabled = true
    const said = await this.send({ do: "replace", ...this.asked, count: this.seen.count })
    if (said && !said.error) return this.root.close()
    write(this.trouble, said?.error ?? this.data.words.notSent)
    this.preview()
  }
}
