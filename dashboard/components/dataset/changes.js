// What was changed on this data set, the newest first; each change can be undone, and an undone one made again.

import { button, fit, make, mark, set, show, write } from "./dom.js"
import { address } from "./poll.js"

export class Changes {
  // send(what): posts it, returns what the server says.
  constructor(send) {
    this.send = send
    this.title = make("h2")
    this.hint = make("p", "hint")
    this.trouble = make("p", "trouble")
    set(this.trouble, "role", "alert")
    this.rows = make("ul")
    this.none = make("p", "hint")
    this.close = button("", () => this.root.close())
    this.root = make("dialog", "history", this.title, this.hint, this.trouble, this.none, this.rows, make("div", "end", this.close))
    set(this.root, "aria-modal", "true")
    this.root.onkeydown = (event) => event.stopPropagation()
  }

  open(data, shown) {
    Object.assign(this, { data, shown })
    const { words } = data
    write(this.title, words.changes)
    set(this.root, "aria-label", words.changes)
    write(this.hint, words.changesHint)
    write(this.none, words.loading)
    show(this.none, true)
    write(this.close, words.close)
    write(this.trouble, "")
    fit(this.rows, 0)
    this.look()
    this.root.showModal()
  }

  async look() {
    const url = address(`data/${encodeURIComponent(this.data.run)}/changes.json`, { lang: this.data.lang })
    const answer = await fetch(url, { cache: "no-store" }).catch(() => null)
    const said = await answer?.json().catch(() => null)
    if (answer?.ok) return this.draw(said.rows)
    write(this.trouble, said?.error ?? this.data.words.offline)
  }

  draw(rows) {
    const { words } = this.data
    write(this.none, words.noChanges)
    show(this.none, !rows.length)
    fit(this.rows, rows.length, () => make("li", "", make("span", "", make("time"), make("span")), button(""))).forEach((node, index) => {
      const { time, words: said, undone, undo } = rows[index]
      const [text, act] = node.children
      write(text.firstChild, time)
      write(text.lastChild, said)
      mark(text.lastChild, "undone", undone)
      write(act, undone ? words.redo : words.undo)
      set(act, "aria-label", `${act.textContent}: ${said}`)
      act.disabled = Boolean(this.shown.fixed)
      act.onclick = () => this.take(undo)
    })
  }

  async take(change) {
    const said = await this.send({ do: "undo", change })
    write(this.trouble, !said ? this.data.words.notSent : (said.error ?? ""))
    this.look()
  }
}
