// The tags and the note of a run, to be changed in a dialog. What another tab wrote meanwhile is shown beside it, and
// replaced only by a second save.

import { button, make, set, show, write } from "./dom.js"
import { post } from "./post.js"

const MAX_CHARACTERS = 2000

export class Editor {
  // saved() is called once a note is there.
  constructor(saved) {
    this.saved = saved
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
    Object.assign(this, { name, words, seen: { tags, note } })
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

  async send() {
    const { name } = this
    const tags = this.tags.value.split(",").filter((tag) => tag.trim())
    this.save.disabled = true
    const said = await post(`notes/${encodeURIComponent(name)}.json?lang=${document.documentElement.lang}`, { tags, note: this.note.value, seen_tags: this.seen.tags, seen_note: this.seen.note })
    if (name !== this.name || !this.root.open) return // closed meanwhile
    this.save.disabled = false
    write(this.trouble, said ? [said.error, said.hint].filter(Boolean).join("\n") : this.words.notSent)
    if (said?.tags) this.showTheirs(said)
    else if (said && !said.error) {
      this.root.close()
      this.saved()
    }
  }

  showTheirs({ tags, note }) {
    this.seen = { tags, note }
    write(this.theirs, [tags.map((tag) => `#${tag}`).join(" "), note].filter(Boolean).join("\n") || "–")
    write(this.save, this.words.replace)
  }
}
