// The tags and the note of a run, to be changed in a dialog. What another tab wrote meanwhile is shown beside it, and
// replaced only by a second save.

import { button, make, set, show, write } from "./dom.js"

const MAX_CHARACTERS = 2000

export class Editor {
  // tell({do: "note", …}) goes to Python, which answers with {id, trouble, isConflict}; see panels/runs.py.
  constructor(tell) {
    this.tell = tell
    this.title = make("h2")
    this.trouble = make("p", "trouble")
    this.trouble.setAttribute("role", "alert")
    this.theirs = make("p", "theirs")
    this.tags = make("input")
    this.note = make("textarea")
    this.note.maxLength = MAX_CHARACTERS
    this.note.oninput = () => this.count()
    this.tagsName = make("span")
    this.noteName = make("span")
    this.counted = make("span", "count")
    this.fields = [make("label", "", this.tagsName, this.tags), make("label", "", this.noteName, this.note), this.counted]
    this.save = make("button", "save")
    this.cancel = button("cancel", () => this.root.close())
    const form = make("form", "", this.title, this.trouble, this.theirs, ...this.fields, make("div", "row", this.cancel, this.save))
    form.onsubmit = (event) => {
      event.preventDefault()
      this.send()
    }
    this.root = make("dialog", "editor", form)
    set(this.root, "aria-modal", "true")
  }

  open({ name, tags, note, trouble }, words) {
    Object.assign(this, { name, words, seen: { tags, note }, id: undefined })
    write(this.title, name)
    set(this.root, "aria-label", words.editOf.replace("{run}", name))
    write(this.tagsName, words.tags)
    write(this.noteName, words.note)
    write(this.save, words.save)
    write(this.cancel, words.cancel)
    write(this.trouble, trouble)
    write(this.theirs, "")
    for (const field of [...this.fields, this.save]) show(field, !trouble)
    this.save.disabled = false
    this.tags.value = tags.join(", ")
    this.note.value = note
    this.count()
    this.root.showModal()
  }

  count() {
    write(this.counted, `${this.note.value.length} / ${MAX_CHARACTERS}`)
  }

  send() {
    this.id = `${this.name} ${performance.now()}`
    this.save.disabled = true
    const tags = this.tags.value.split(",").filter((tag) => tag.trim())
    this.tell({ do: "note", id: this.id, run: this.name, tags, note: this.note.value, seenTags: this.seen.tags, seenNote: this.seen.note })
  }

  // Takes the answer to what was sent last; returns whether there was one.
  isSaved(answer) {
    if (!answer || answer.id !== this.id) return false
    this.id = undefined
    this.save.disabled = false
    if (!answer.trouble) this.root.close()
    write(this.trouble, answer.trouble)
    if (answer.isConflict) {
      this.seen = { tags: answer.tags, note: answer.note }
      write(this.theirs, [answer.tags.map((tag) => `#${tag}`).join(" "), answer.note].filter(Boolean).join("\n") || "–")
      write(this.save, this.words.replace)
    }
    return true
  }
}
