// One picture of the page, enlarged, with its mask beside it. ← → walk the pictures, Escape closes.

import { button, make, set, show, showImage, write } from "./dom.js"

export class LargePicture {
  constructor() {
    this.title = make("h2")
    this.image = make("img")
    this.mask = make("img")
    this.caption = make("p")
    this.count = make("span", "count")
    this.before = button("", () => this.walk(-1))
    this.after = button("", () => this.walk(1))
    this.close = button("", () => this.root.close())
    write(this.before, "‹")
    write(this.after, "›")
    write(this.close, "×")
    const top = make("div", "top", this.title, this.count, this.before, this.after, this.close)
    this.root = make("dialog", "large", top, make("div", "both", this.image, this.mask), this.caption)
    set(this.root, "aria-modal", "true")
    this.root.onkeydown = (event) => {
      event.stopPropagation()
      if (event.key === "ArrowLeft") this.walk(-1)
      else if (event.key === "ArrowRight") this.walk(1)
    }
  }

  open(rows, row, words) {
    this.rows = rows.filter(({ url }) => url)
    this.at = this.rows.indexOf(row)
    this.words = words
    set(this.before, "aria-label", words.previous)
    set(this.after, "aria-label", words.next)
    set(this.close, "aria-label", words.close)
    this.draw()
    this.root.showModal()
  }

  walk(by) {
    this.at = Math.max(0, Math.min(this.rows.length - 1, this.at + by))
    this.draw()
  }

  draw() {
    const row = this.rows[this.at]
    write(this.title, row.id)
    set(this.root, "aria-label", row.id)
    write(this.count, `${this.at + 1} / ${this.rows.length}`)
    set(this.image, "alt", row.id)
    set(this.mask, "alt", this.words.maskOf.replace("{picture}", row.id))
    showImage(this.image, `${row.url}&large`)
    showImage(this.mask, row.mask ? `${row.mask}&large` : "")
    show(this.mask, row.mask)
    write(this.caption, row.caption)
    this.before.disabled = this.at === 0
    this.after.disabled = this.at === this.rows.length - 1
  }
}
