// The wall of pictures: each prompt as the reference, A and B show it. Data: {run, drawn, columns, choice, words, …}; see
// __init__.py. What a step shows is fetched once and kept; A, B, the order, the comparisons and the zoom need no server.
// Elements are reused by position and touched only where something differs. Text only ever goes through textContent.

import { button, canMoveOpen, fit, make, mark, rootOf, set, show, write } from "./dom.js"
import { fillCell, fillNumbers, makeCell } from "./cell.js"
import { Lens } from "./lens.js"
import { fillSteps, makeSteps } from "./steps.js"
import { SIZES, SORTS, Toolbar } from "./toolbar.js"
import { Zoom } from "./zoom.js"

const TELL_MILLISECONDS = 400
const KEYS = { s: "side", w: "wipe", k: "blink", d: "difference" }
const fetched = new Map() // URL → promise of what a step shows, with samples by place
const walls = new WeakMap() // root element → Wall

const folder = (step) => `step-${String(step).padStart(8, "0")}`

// Two digits that say something, as in the other tables.
export function spell(value) {
  if (value === null || value === undefined) return "–"
  return Math.abs(value) >= 10 ? value.toFixed(Math.abs(value) < 100 ? 1 : 0) : Number(value).toPrecision(2)
}

class Wall {
  constructor(root) {
    this.root = root
    this.choice = {}
    this.told = [] // choices that Python will send back
    this.mode = "side"
    this.size = "medium"
    this.remarks = make("div", "remarks")
    this.bar = new Toolbar(this)
    this.note = make("p", "note")
    this.cards = make("div", "cards")
    this.zoom = new Zoom(this.cards, () => this.draw())
    this.lens = new Lens(this.lensSource())
    root.append(this.remarks, this.bar.root, this.note, this.cards)
    root.after(this.lens.root)
    root.onkeydown = (event) => this.press(event)
    root.onkeyup = ({ key }) => key === " " && mark(this.cards, "peek", false)
    this.cards.addEventListener("click", (event) => this.enlarge(event))
  }

  update(data, tell) {
    this.data = data
    this.tell = tell
    const said = JSON.stringify(data.choice)
    if (said !== this.said) {
      const at = this.told.indexOf(said)
      this.told.splice(0, at + 1)
      if (at < 0) this.choice = { ...data.choice } // chosen elsewhere: in the address, or on another page
    }
    this.said = said
    fit(this.remarks, data.remarks.length, () => make("p")).forEach((line, index) => write(line, data.remarks[index]))
    this.draw()
  }

  leave() {
    clearTimeout(this.telling)
    this.lens.root.remove()
    this.root.replaceChildren()
  }

  get isFixed() {
    return this.data.columns.length > 0
  }

  sideOf(name) {
    const wanted = this.choice[name]
    return this.drawn(wanted) ? wanted : this.data.defaults[name]
  }

  get left() {
    return this.sideOf("left")
  }

  get right() {
    return this.sideOf("right")
  }

  get sort() {
    return SORTS.includes(this.choice.sort) && !this.isFixed ? this.choice.sort : "prompts"
  }

  drawn(step) {
    return this.data.drawn.find((one) => one.step === step)
  }

  // The sides that are compared with one another, the first with each later one: {run, step, version, title}.
  get sides() {
    if (this.isFixed) return this.data.columns
    const { run, words } = this.data
    return [["A", this.left], ["B", this.right]].map(([letter, step]) => {
      const one = this.drawn(step)
      return one ? { ...one, run, title: `${letter} · ${one.title}`, name: one.title } : { run, step: null, title: `${letter} · ${words.noSnapshot}`, name: words.noSnapshot }
    })
  }

  load({ run, step, version, basis = "" }) {
    if (step === null) return null
    const inlined = this.data.inlined?.drawn[step]
    const url = `drawn/${encodeURIComponent(run)}/${step}.json?v=${version}-${basis}`
    if (!fetched.has(url)) {
      const answer = inlined ? Promise.resolve(inlined) : fetch(url).then((one) => (one.ok ? one.json() : null))
      fetched.set(url, answer.then(byPlace).catch(() => (fetched.delete(url), null)))
    }
    return fetched.get(url)
  }

  async draw() {
    const ticket = (this.ticket = Symbol())
    this.bar.draw()
    this.cards.dataset.mode = this.mode
    this.root.style.setProperty("--card", SIZES[this.size])
    this.root.dataset.size = this.size
    const sides = this.sides
    const results = await Promise.all(sides.map((side) => this.load(side)))
    if (ticket !== this.ticket) return
    const places = placesOf(sides, results, this.isFixed)
    const hasReferences = places.some((place) => place.has_reference)
    const numSources = Math.max(0, ...places.map((place) => place.num_sources))
    this.shown = { sides, results, hasReferences, numSources, all: places, places: this.sorted(places) }
    const before = this.topOfOpen()
    this.drawNote()
    fit(this.cards, this.shown.places.length, () => this.makeCard()).forEach((card, index) => this.fillCard(card, this.shown.places[index]))
    this.keepInSight(before)
    if (this.lens.isOpen) this.lens.draw()
    else if (places.length && canMoveOpen(this.root)) this.lens.resume()
  }

  sorted(places) {
    const { sort } = this
    if (sort === "prompts") return places
    const turn = sort === "improved" ? -1 : 1
    const kept = places.filter((place) => sort !== "lost" || place.gain < 0 || place.prompt_id === this.choice.prompt)
    const rank = ({ gain }) => (gain === null ? Infinity : turn * gain)
    return [...kept].sort((one, other) => (rank(one) === rank(other) ? 0 : rank(one) - rank(other)))
  }

  // What A and B come to, in prompts.
  drawNote() {
    const { words } = this.data
    const { sides, all, places } = this.shown
    const gains = new Map() // prompt → the sum over its pictures
    for (const { unit, gain } of all) if (gain !== null) gains.set(unit, (gains.get(unit) ?? 0) + gain)
    const count = (isCounted) => [...gains.values()].filter(isCounted).length
    const names = { right: sides[1]?.name, left: sides[0]?.name, all: gains.size, won: count((gain) => gain > 0), lost: count((gain) => gain < 0) }
    const text = this.isFixed || this.right === null ? "" : this.left === this.right ? words.same : gains.size ? words.summary : words.noGains
    const asked = ["left", "right"].map((name) => this.choice[name]).find((step) => step !== null && step !== undefined && !this.drawn(step))
    const missing = asked === undefined || this.isFixed ? "" : words.notDrawn.replace("{step}", asked)
    const none = this.sort === "lost" && !places.length && text === words.summary ? words.noneLost : ""
    const said = [missing, text.replace(/\{(\w+)\}/g, (_, name) => names[name]), none].filter(Boolean).join(" ")
    write(this.note, said)
    show(this.note, said)
  }

  makeCard() {
    const opener = button("opener")
    const title = make("div", "title", make("h3", "prompt"), make("div", "numbers gain"))
    return make("section", "card", title, make("div", "grid"), make("div", "foot", make("span", "seed"), opener), makeSteps())
  }

  fillCard(card, place) {
    const [title, grid, foot, steps] = card.children
    const { words } = this.data
    write(title.children[0], place.prompt || place.prompt_id)
    fillNumbers(title.children[1], place.gain === null ? [] : [this.gainOf(place.gain)])
    const { pictures, first } = this.picturesOf(place, false)
    const seeds = new Set(pictures.map(({ seed }) => seed).filter(Boolean))
    grid.style.setProperty("--columns", pictures.length)
    fit(grid, pictures.length, makeCell).forEach((cell, index) => {
      const picture = seeds.size > 1 ? pictures[index] : { ...pictures[index], seed: "" }
      fillCell(cell, picture, index > first ? pictures[first] : null, words)
      cell.querySelector(".frame").place = place.key
    })
    const isOpen = !this.isFixed && place.prompt_id === this.choice.prompt && this.isFirstOf(place)
    write(foot.children[0], seeds.size === 1 ? [...seeds][0] : "")
    write(foot.children[1], isOpen ? words.closeSteps : words.allSteps)
    set(foot.children[1], "aria-expanded", String(isOpen))
    show(foot.children[1], !this.isFixed && this.data.drawn.length > 1)
    foot.children[1].onclick = () => this.choose({ prompt: isOpen ? "" : place.prompt_id, count: isOpen ? 0 : place.count })
    mark(card, "open", isOpen)
    show(steps, isOpen)
    if (isOpen) this.drawSteps(steps, place)
    else delete steps.firstElementChild.dataset.revealed
  }

  // Of a prompt's several pictures, one strip is open; the address names the prompt alone.
  isFirstOf(place) {
    return place.count === (this.choice.count ?? 0)
  }

  async drawSteps(node, place) {
    const { drawn, run, words } = this.data
    const sides = drawn.map((one) => ({ ...one, run }))
    const results = await Promise.all(sides.map((side) => this.load(side)))
    if (this.choice.prompt !== place.prompt_id) return
    const gainAt = (index) => results[index]?.samples.get(place.key)?.gain ?? null
    const before = gainAt(drawn.findIndex(({ step }) => step === this.left))
    const cells = sides.map((side, index) => {
      const { url, alt, missing } = this.picture(side, place, results[index], null, false)
      const gain = before === null || gainAt(index) === null || side.step === this.left ? null : this.gainOf(gainAt(index) - before)
      return { step: side.step, title: side.label, url, alt, missing, gain }
    })
    const choose = (step, isLeft) => this.choose(isLeft ? { left: step } : { right: step })
    fillSteps(node, cells, { left: this.left, right: this.right, words, choose, close: () => this.closeSteps(node) })
  }

  closeSteps(node) {
    node.parentElement.querySelector(".opener").focus()
    this.choose({ prompt: "" })
  }

  gainOf(gain) {
    const { words } = this.data
    const sign = gain > 0 ? "better" : gain < 0 ? "worse" : "equal"
    const said = { better: words.betterBy, worse: words.worseBy, equal: words.equal.replace("{side}", "A") }[sign]
    return { name: "", value: said.replace("{gain}", spell(Math.abs(gain))), mark: sign, words: words.gainMeaning }
  }

  // All of a row: {pictures, first}, the place of the side that later ones are compared with.
  picturesOf(place, isFull) {
    const { sides, results } = this.shown
    const drawn = sides.map((side, index) => this.picture(side, place, results[index], index ? results[0] : null, isFull))
    const sources = Array.from({ length: this.shown.numSources }, (_, index) => this.source(place, index, isFull))
    const real = this.shown.hasReferences ? [...sources, this.reference(place, isFull)] : sources
    const pictures = [...real, ...drawn]
    return { pictures, first: pictures.length - sides.length }
  }

  // What a picture is made from, the first of several is what is edited.
  source(place, index, isFull) {
    const { words } = this.data
    const title = this.shown.numSources > 1 ? `${words.source} ${index + 1}` : words.source
    if (index >= place.num_sources) return { title, url: "", alt: "", missing: words.noSource, numbers: [] }
    return this.given(place, `${place.prompt_id}.source-${index + 1}`, title, isFull)
  }

  reference(place, isFull) {
    const { words } = this.data
    if (!place.has_reference) return { title: words.reference, url: "", alt: "", missing: words.noReference, numbers: [] }
    return this.given(place, place.prompt_id, words.reference, isFull)
  }

  // A picture that comes with the prompt.
  given(place, name, title, isFull) {
    const path = `references/${name.split("/").map(encodeURIComponent).join("/")}.png`
    return { title, url: this.url(place.run, path, this.data.runId, isFull), alt: `${title}: ${place.prompt}`, numbers: [] }
  }

  picture(side, place, result, before, isFull) {
    const { words } = this.data
    const sample = result?.samples.get(place.key)
    if (!sample?.image) return { title: side.title, url: "", alt: "", missing: side.reason || result?.reason || words.nothing, numbers: [] }
    const path = `evaluations/${folder(side.step)}/images/${encodeURIComponent(sample.image)}`
    const url = this.url(side.run, path, side.version, isFull)
    const seed = `${words.seed} ${sample.seed}`
    const alt = `${side.title}, ${seed}: ${sample.prompt}`
    return { title: side.title, url, alt, seed, numbers: this.numbers(sample, before?.samples.get(place.key)), alike: this.alike(side, sample) }
  }

  numbers(sample, before) {
    const { metrics, words } = this.data
    const first = this.shown.sides[0].name ?? this.shown.sides[0].title
    return metrics.filter(([name]) => name in sample.metrics).map(([name, title, worsening]) => {
      const [value, other] = [sample.metrics[name], before?.metrics[name]]
      const number = { name: title, value: spell(value), words: `${title} ${value ?? "–"}` }
      if ([value, other].includes(null) || other === undefined || !worsening) return number
      const sign = spell(value) === spell(other) ? "equal" : (value - other) * worsening < 0 ? "better" : "worse"
      return { ...number, mark: sign, words: `${number.words}: ${words[sign].replace("{side}", first)} (${other})` }
    })
  }

  alike(side, sample) {
    const found = this.data.pointers.filter(([name]) => sample.lookalikes?.[name])
    return found.map(([name, label]) => {
      const { id, image } = sample.lookalikes[name]
      const path = `evaluations/${folder(side.step)}/lookalikes/${image}`
      return { text: `${label}: ${id}`, url: image ? this.url(side.run, path, side.version, false) : "" }
    })
  }

  // The wall shows smaller copies of large pictures; enlarged they are the files themselves.
  url(run, path, version, isFull) {
    const small = isFull || this.size === "large" || this.zoom.zoom > 1 ? "" : "&small"
    return this.data.inlined ? (this.data.inlined.pictures[path] ?? "") : `pictures/${encodeURIComponent(run)}/${path}?v=${version}${small}`
  }

  lensSource() {
    const wall = this
    return {
      get words() {
        return wall.data.words
      },
      items: () => wall.shown.places.map((place) => ({ key: place.key, title: place.prompt || place.prompt_id, ...wall.picturesOf(place, true) })),
      move: (by, isLeft) => wall.move(by, isLeft),
      place: () => (wall.data.inlined ? "" : wall.isFixed ? wall.data.columns.map(({ run }) => run).join("/") : wall.data.runId),
      closed: (key) => wall.frameOf(key, wall.lens.which)?.querySelector(".enlarge").focus(),
    }
  }

  // Another comparison or size: of this page alone, so not in the address.
  show(changes) {
    Object.assign(this, changes)
    this.draw()
  }

  choose(changes) {
    this.choice = { ...this.choice, ...changes }
    this.draw()
    clearTimeout(this.telling)
    this.telling = setTimeout(() => this.tellChoice(), TELL_MILLISECONDS)
  }

  tellChoice() {
    const told = Object.fromEntries(Object.keys(this.data.choice).map((name) => [name, this.choice[name] ?? null]))
    this.told.push(JSON.stringify(told))
    this.tell(told)
  }

  swap() {
    this.choose({ left: this.right, right: this.left })
  }

  move(by, isLeft) {
    if (this.isFixed) return
    const at = this.data.drawn.findIndex(({ step }) => step === (isLeft ? this.left : this.right))
    const next = this.data.drawn[at + by]
    if (!next) return
    this.choose(isLeft ? { left: next.step } : { right: next.step })
    const near = this.data.drawn[at + 2 * by]
    if (near) this.load({ ...near, run: this.data.run })
  }

  press(event) {
    const { key, target } = event
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input, select")) return
    const { drawn } = this.data
    const best = drawn.find(({ mark }) => mark)
    const toward = (one) => one && !this.isFixed && this.choose({ right: one.step })
    const actions = {
      ArrowRight: () => this.walk(1),
      ArrowLeft: () => this.walk(-1),
      ArrowUp: () => this.move(1, event.shiftKey),
      ArrowDown: () => this.move(-1, event.shiftKey),
      Home: () => toward(drawn[0]),
      End: () => toward(drawn.at(-1)),
      "*": () => toward(best),
      x: () => this.isFixed || this.swap(),
      "+": () => this.zoom.in(),
      "-": () => this.zoom.out(),
      0: () => this.zoom.by(0),
      " ": () => mark(this.cards, "peek", true),
    }
    const act = KEYS[key] ? () => this.show({ mode: KEYS[key] }) : actions[key]
    if (!act || (key === " " && !target.matches(".enlarge"))) return
    event.preventDefault()
    act()
  }

  walk(by) {
    const frame = document.activeElement?.closest?.(".frame")
    const keys = this.shown.places.map(({ key }) => key)
    const column = frame ? [...frame.closest(".grid").children].indexOf(frame.parentElement) : 0
    const next = keys[Math.min(keys.length - 1, Math.max(0, keys.indexOf(frame?.place) + by))]
    this.frameOf(next, column)?.querySelector(".enlarge").focus()
  }

  frameOf(key, column = -1) {
    const at = this.shown.places.findIndex((place) => place.key === key)
    return [...(this.cards.children[at]?.querySelectorAll(".grid .frame") ?? [])].at(column)
  }

  enlarge(event) {
    const frame = event.target.closest(".grid .frame")
    if (!frame || this.zoom.hasMoved || event.target.matches(".divider")) return
    const place = [...frame.closest(".grid").children].indexOf(frame.parentElement)
    this.lens.which = place
    this.lens.open(frame.place, this.mode)
  }

  // The row whose steps are open stays where it is while others pass it.
  topOfOpen() {
    return this.cards.querySelector(".card.open")?.getBoundingClientRect().top
  }

  keepInSight(before) {
    const open = this.cards.querySelector(".card.open")
    if (!open) return
    const moved = before === undefined ? 0 : open.getBoundingClientRect().top - before
    if (moved) scroller(open).scrollTop += moved
    else if (before === undefined) open.scrollIntoView({ block: "nearest" })
  }
}

function scroller(node) {
  for (let above = node.parentElement; above; above = above.parentElement) {
    if (above.scrollHeight > above.clientHeight && /auto|scroll/.test(getComputedStyle(above).overflowY)) return above
  }
  return document.scrollingElement
}

// A place on the wall is a prompt and the how-manyeth picture of it, so that runs with other seeds can stand side by side.
function byPlace(result) {
  if (!result) return null
  const counts = new Map()
  const samples = new Map()
  for (const sample of result.samples) {
    const count = counts.get(sample.prompt_id) ?? 0
    counts.set(sample.prompt_id, count + 1)
    samples.set(`${sample.prompt_id} ${count}`, { ...sample, count })
  }
  return { reason: result.reason, samples }
}

// All places of the sides, with the gain of the last side over the first. The later side says which prompts there are.
function placesOf(sides, results, isFixed) {
  const places = new Map()
  for (const at of isFixed ? [...sides.keys()] : [1, 0]) {
    for (const [key, { prompt, prompt_id, has_reference, num_sources, count, unit }] of results[at]?.samples ?? []) {
      if (!places.has(key)) places.set(key, { key, prompt, prompt_id, has_reference, num_sources, count, unit, run: sides[at].run, gain: null })
    }
  }
  for (const place of isFixed || sides[0].step === sides[1].step ? [] : places.values()) {
    const [before, after] = results.map((result) => result?.samples.get(place.key)?.gain ?? null)
    place.gain = before === null || after === null ? null : after - before
  }
  return [...places.values()]
}

export function wall(component) {
  const { data, setTriggerValue } = component
  const root = rootOf(component, "darkroom-wall")
  if (!walls.has(root)) walls.set(root, new Wall(root))
  walls.get(root).update(data, (choice) => setTriggerValue?.("chosen", choice))
  return () => {
    walls.get(root)?.leave()
    walls.delete(root)
  }
}
