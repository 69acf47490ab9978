// A model on this machine that writes captions: which one, for which pictures. How far it is stands on the page.

import { button, make, set, write } from "./dom.js"

const MODEL = "darkroom-captioner" // in the browser: the model that was used last

export class Captioner {
  // send(what): posts it, returns what the server says.
  constructor(send) {
    this.send = send
    this.title = make("h2")
    this.model = make("input")
    this.modelLabel = make("label", "", make("span"), this.model)
    this.hint = make("p", "hint")
    this.ways = [false, true].map((every) => {
      const box = Object.assign(make("input"), { type: "radio", name: "darkroom-which", checked: !every })
      return make("label", "", box, make("span"))
    })
    this.trouble = make("p", "trouble")
    set(this.trouble, "role", "alert")
    this.start = make("button", "primary")
    this.close = button("", () => this.root.close())
    const form = make("form", "", this.title, this.modelLabel, this.hint, make("div", "ways", ...this.ways), this.trouble, make("div", "end", this.close, this.start))
    form.onsubmit = (event) => {
      event.preventDefault()
      this.begin()
    }
    this.root = make("dialog", "captioner", form)
    set(this.root, "aria-modal", "true")
    this.root.onkeydown = (event) => event.stopPropagation()
  }

  open(words, { kinds, total }) {
    this.words = words
    write(this.title, words.writeCaptions)
    set(this.root, "aria-label", words.writeCaptions)
    write(this.modelLabel.firstChild, words.model)
    write(this.hint, words.modelHint)
    this.ways.forEach((label, index) => write(label.lastChild, `${[words.forBare, words.forAll][index]} (${[kinds.bare, total][index]})`))
    write(this.start, words.start)
    write(this.close, words.close)
    write(this.trouble, "")
    this.model.value ||= localStorage.getItem(MODEL) ?? ""
    this.model.required = true
    this.root.showModal()
  }

  async begin() {
    const model = this.model.value.trim()
    this.start.disabled = true
    const said = await this.send({ do: "caption", model, every: this.ways[1].firstChild.checked })
    this.start.disabled = false
    if (said && !said.error) {
      localStorage.setItem(MODEL, model)
      return this.root.close()
    }
    write(this.trouble, said?.error ?? this.words.notSent)
  }
}
