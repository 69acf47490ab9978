// The first screen: the verdict on the left, the pictures on the right, the filmstrip below.
// Data: {run, words, left, right}; see __init__.py. What it shows comes from poll.js.

import { make, mark, mount, openPage } from "./dom.js"
import { Filmstrip } from "./filmstrip.js"
import { Pictures } from "./pictures.js"
import { ask, follow, send } from "./poll.js"
import { Verdict } from "./verdict.js"

class FirstScreen {
  constructor(root) {
    this.root = root
    const choose = (sides) => this.choose(sides)
    this.verdict = new Verdict((left, right) => choose({ left, right }))
    this.pictures = new Pictures(() => openPage("samples"))
    this.filmstrip = new Filmstrip(choose)
    const left = make("div", "left", this.verdict.answer, this.verdict.downloads, this.verdict.also)
    root.append(left, this.pictures.root, this.filmstrip.root)
    root.after(this.pictures.lens.root)
    this.unfollow = follow((state) => this.draw(state))
  }

  leave() {
    this.unfollow()
    this.pictures.lens.root.remove()
  }

  update(data, tell) {
    this.tell = tell
    if (this.data?.run !== data.run) this.sides = { left: data.left, right: data.right } // afterwards they are chosen here
    this.data = data
    ask({ run: data.run, lang: data.lang, ...this.sides })
    if (this.state) this.draw(this.state)
  }

  choose(sides) {
    this.sides = { ...this.sides, ...sides }
    ask(this.sides)
    this.tell({ do: "sides", ...this.sides })
  }

  draw(state) {
    this.state = state
    const { screen } = state
    if (!this.data) return
    mark(this.root, "drawn", screen)
    mark(this.root, "dimmed", state.isOffline || state.trouble)
    if (!screen) return
    this.verdict.draw(screen.verdict, screen.run_id, this.data.words)
    this.pictures.draw(screen.pictures, this.data.words, screen.run_id)
    this.filmstrip.draw(screen.strip, screen.pictures, this.data.words)
    this.prepare(screen)
  }

  // A proven best is converted before anybody asks for it, once nothing else needs the memory.
  prepare({ verdict, live, run_id }) {
    const primary = verdict.downloads.find((download) => download.primary)
    if (verdict.kind !== "ship" || live || primary?.state !== "absent" || this.prepared === run_id) return
    this.prepared = run_id
    send({ do: "prepare", run_id, format: primary.name, step: verdict.step })
  }
}

export const screen = (component) => mount(component, "darkroom-screen", FirstScreen)
