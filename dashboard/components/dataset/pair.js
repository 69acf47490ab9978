// A picture with its caption, which can be changed in place: Ctrl+Enter saves, Escape discards.

import { button, make, mark, set, show, showImage, write } from "./dom.js"

export function makePair() {
  const look = button("look")
  const image = make("img", "photo")
  const mask = make("img", "mask")
  set(image, "loading", "lazy")
  set(mask, "loading", "lazy")
  image.alt = mask.alt = ""
  image.hidden = mask.hidden = true
  look.append(image, mask, make("span", "none"))
  const facts = make("p", "facts", make("span"), make("span"), make("span"), make("span", "cut"), make("span"))
  const row = make("div", "row", button("save"), button("discard"))
  return make("li", "pair", look, make("p", "name"), facts, button("plain alike"), make("textarea"), make("p", "recorded"), make("p", "theirs"), row)
}

export class Pair {
  constructor(node, acts) {
    Object.assign(this, { node, acts })
    ;[this.look, this.name, this.facts, this.alike, this.text, this.recorded, this.theirs, this.buttons] = node.children
    const [save, discard] = this.buttons.children
    save.onclick = () => acts.save(this.row)
    discard.onclick = () => this.discard()
    this.look.onclick = () => acts.enlarge(this.row)
    this.alike.onclick = () => acts.alike(this.row)
    this.text.oninput = () => this.draft()
    this.text.onkeydown = (event) => {
      event.stopPropagation() // Streamlit has keys of its own
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) acts.save(this.row)
      else if (event.key === "Escape") this.discard()
    }
  }

  draft() {
    const { id, caption } = this.row
    const seen = this.drafts.get(id)?.seen ?? caption
    if (this.text.value === caption) this.drafts.delete(id)
    else this.drafts.set(id, { text: this.text.value, seen })
    this.drawDraft()
    this.acts.drafted()
  }

  discard() {
    this.drafts.delete(this.row.id)
    this.text.value = this.row.caption
    this.drawDraft()
    this.acts.drafted()
  }

  draw(row, drafts, words, fixed) {
    Object.assign(this, { row, drafts, words })
    const [image, mask, none] = this.look.children
    const [split, bucket, tokens, cut, isNew] = this.facts.children
    this.node.dataset.id = row.id
    showImage(image, row.url)
    showImage(mask, row.mask)
    write(none, words.noPicture)
    show(none, !row.url)
    this.look.disabled = !row.url
    set(this.look, "aria-label", words.enlarge.replace("{picture}", row.id))
    write(this.name, row.id)
    set(this.name, "title", row.id)
    write(split, words.splits[row.split] ?? "")
    set(split, "data-split", row.split)
    write(bucket, row.bucket)
    write(tokens, row.tokens === null ? "" : row.tokens === 1 ? words.oneToken : words.tokens.replace("{count}", row.tokens))
    write(cut, row.cut ? words.cut.replace("{count}", row.cut) : "")
    write(isNew, [row.new && words.new, row.mask && words.mask].filter(Boolean).join(" · "))
    const alike = row.alike.join(", ") + (row.more_alike ? ` ${words.more.replace("{count}", row.more_alike)}` : "")
    write(this.alike, row.alike.length ? words.alike.replace("{pictures}", alike) : "")
    show(this.alike, row.alike.length)
    set(this.text, "aria-label", words.captionOf.replace("{picture}", row.id))
    set(this.text, "placeholder", words.noCaption)
    this.text.readOnly = Boolean(fixed) || !row.url
    const wanted = drafts.get(row.id)?.text ?? row.caption
    if (this.text.value !== wanted) this.text.value = wanted
    write(this.recorded, row.recorded ? words.before.replace("{caption}", row.recorded) : "")
    show(this.recorded, row.recorded)
    write(this.buttons.children[0], words.save)
    write(this.buttons.children[1], words.discard)
    this.drawDraft()
  }

  drawDraft() {
    const draft = this.drafts.get(this.row.id)
    mark(this.node, "dirty", draft)
    show(this.buttons, draft)
    write(this.theirs, draft?.theirs !== undefined ? `${this.words.theirs} ${draft.theirs}` : "")
  }
}
