// The wall of pictures. Data: {run, steps: [[step, version]], best, step, columns, references, metrics, words, …}; see wall.py.
// What a step shows is fetched from its result once and kept; the slider, the comparisons and the zoom need no server.
// Elements are reused by position and touched only where something differs. Text only ever goes through textContent.

const MODES = ["side", "wipe", "blink", "difference"]
const AGAINST = ["base", "reference", "newest"]
const SIZES = { small: "300px", medium: "460px", large: "900px" }
const KEYS = { s: "side", w: "wipe", k: "blink", d: "difference" }
const REFERENCE = { kind: "reference" }
const results = new Map() // URL → promise of samples by place
const rooms = new WeakMap() // root element → Room

function fit(parent, count, make) {
  while (parent.children.length > count) parent.lastElementChild.remove()
  while (parent.children.length < count) parent.append(make())
  return [...parent.children]
}

function element(tag, className, ...children) {
  const made = document.createElement(tag)
  made.className = className
  made.append(...children)
  return made
}

function set(target, name, value) {
  if (value === undefined || value === null) target.removeAttribute(name)
  else if (target.getAttribute(name) !== String(value)) target.setAttribute(name, value)
}

function write(target, text) {
  if (target.textContent !== text) target.textContent = text
}

const folder = (step) => `step-${String(step).padStart(8, "0")}`
const spell = (value) => (value === null || value === undefined ? "–" : value.toFixed(2))

function makeCard() {
  return element("section", "card", element("h3", "prompt"), element("div", "grid"))
}

function makeImage(className) {
  const image = element("img", className)
  image.loading = "lazy"
  image.decoding = "async"
  image.draggable = false
  image.onload = () => image.classList.toggle("enlarged", image.naturalWidth < image.clientWidth * devicePixelRatio)
  return image
}

function makeCell() {
  const frame = element("button", "frame", makeImage("under"), makeImage("over"), element("span", "why"))
  frame.append(element("span", "side-name left"), element("span", "side-name right")) // of the halves of a wipe
  frame.type = "button"
  const below = ["numbers", "seed", "alike"].map((name) => element("div", name))
  return element("figure", "cell", element("div", "head"), frame, ...below)
}

function makeLookalike() {
  return element("div", "lookalike", element("img", ""), element("span", ""))
}

function fillImage(image, picture) {
  set(image, "src", picture?.src)
  set(image, "alt", picture ? picture.alt : undefined)
  image.hidden = !picture
}

class Room {
  constructor(root) {
    this.root = root
    this.mode = "side"
    this.against = "base"
    this.size = "medium"
    this.view = { zoom: 1, x: 0, y: 0 }
    this.picked = undefined // a step somebody chose here; undefined follows what the page says
    this.open = undefined // the place shown in the lens
    this.find = (selector) => root.querySelector(selector)
    this.listen()
  }

  update(data, tell) {
    if (data.step !== this.data?.step) this.picked = undefined
    this.data = data
    this.tell = tell
    this.root.classList.toggle("plain", data.plain)
    this.root.classList.toggle("still", !data.columns.some((column) => column.kind === "selected"))
    this.draw()
  }

  get steps() {
    return this.data.steps.map(([step]) => step)
  }

  get step() {
    const wanted = this.picked ?? this.data.step ?? this.data.best
    return this.steps.includes(wanted) ? wanted : this.steps.at(-1)
  }

  versionOf(run, step) {
    return (this.data.versions?.[run] ?? this.data.steps).find(([known]) => known === step)?.[1] ?? ""
  }

  // What a column shows: {kind, run, step, title}.
  resolve(column) {
    const { words, run, steps } = this.data
    const newest = steps.at(-1)?.[0]
    if (column.kind === "reference") return { ...column, title: words.reference }
    const step = { base: 0, selected: this.step, newest }[column.kind] ?? column.step
    const star = step === this.data.best && column.kind !== "fixed" ? " ★" : ""
    const names = { base: words.baseTitle, selected: words.step, newest: words.newestTitle }
    return { run, ...column, step, title: column.title ?? `${names[column.kind]} ${step}${star}` }
  }

  get columns() {
    const shown = this.data.columns.map((column) => this.resolve(column))
    const selected = shown.find((column) => column.kind === "selected")
    return shown.filter((column) => !(column.kind === "newest" && column.step === selected?.step))
  }

  load(run, step) {
    const inlined = this.data.inlined?.results[step]
    const version = this.versionOf(run, step)
    const url = `results/${encodeURIComponent(run)}/${folder(step)}.json?v=${version}`
    if (!results.has(url)) {
      const fetched = inlined ? Promise.resolve(inlined) : fetch(url).then((answer) => (answer.ok ? answer.json() : null))
      results.set(url, fetched.then(byPlace).catch(() => (results.delete(url), null)))
    }
    return results.get(url)
  }

  // The wall shows smaller copies of large pictures; enlarged or in the lens they are the files themselves.
  pictureUrl(run, path, version) {
    const small = this.size === "large" || this.view.zoom > 1 || this.filling === "lens" ? "" : "&small"
    return this.data.inlined?.pictures[path] ?? `pictures/${encodeURIComponent(run)}/${path}?v=${version}${small}`
  }

  pictureOf(column, place, result) {
    const { words, runId } = this.data
    if (column.kind === "reference") {
      if (!place.has_reference) return null
      const path = `references/${place.prompt_id.split("/").map(encodeURIComponent).join("/")}.png`
      return { src: this.pictureUrl(place.run, path, runId), alt: `${words.reference}: ${place.prompt}` }
    }
    const sample = result?.samples.get(place.key)
    if (!sample) return null
    const path = `evaluations/${folder(column.step)}/images/${sample.image}`
    const src = this.pictureUrl(column.run, path, this.versionOf(column.run, column.step))
    return { src, alt: `${column.title}, ${words.seed} ${sample.seed}: ${sample.prompt}`, sample }
  }

  async draw() {
    const ticket = (this.ticket = Symbol())
    this.drawBar()
    const columns = this.columns
    const other = this.resolve(this.against === "reference" ? REFERENCE : { kind: this.against })
    const needed = [...columns, other].filter((column) => column.kind !== "reference")
    const loaded = new Map()
    await Promise.all(
      needed.map(async (column) => loaded.set(`${column.run} ${column.step}`, await this.load(column.run, column.step))),
    )
    if (ticket !== this.ticket) return
    const places = placesOf(loaded, this.data.limit)
    this.hasReferences = !places.length || places.some((place) => place.has_reference)
    this.drawBar()
    this.shown = {
      columns: columns.filter((column) => this.hasReferences || column.kind !== "reference"),
      other,
      resultOf: (column) => loaded.get(`${column.run} ${column.step}`),
      places,
    }
    const cards = fit(this.find(".wall"), this.shown.places.length, makeCard)
    cards.forEach((card, index) => this.fillCard(card.children[0], card.children[1], this.shown.places[index]))
    if (this.open !== undefined) this.drawLens()
  }

  drawBar() {
    const { words, best, steps } = this.data
    const slider = this.find(".slider")
    set(slider, "max", Math.max(0, steps.length - 1))
    slider.value = this.steps.indexOf(this.step)
    set(slider, "aria-valuetext", `${words.step} ${this.step}`)
    fit(this.find("#ticks"), steps.length <= 60 ? steps.length : 0, () => element("option", "")).forEach((tick, index) => set(tick, "value", index))
    write(this.find(".label"), words.stepShown)
    write(this.find(".shown"), `${words.step} ${this.step}${this.step === best ? " ★" : ""}`)
    const [toBest, toNewest] = this.root.querySelectorAll(".jump")
    toBest.hidden = best === null
    write(toBest, `★ ${words.best}`)
    write(toNewest, words.newest)
    this.drawChoice(".modes", MODES, "mode", words.compare)
    this.drawChoice(".against", AGAINST.filter((kind) => this.hasReferences !== false || kind !== "reference"), "against", words.with)
    this.find(".against").hidden = this.mode === "side"
    this.drawChoice(".sizes", Object.keys(SIZES), "size", words.size)
    write(this.find(".keys summary"), words.keys)
    write(this.find(".keys p"), words.keysText)
    write(this.find(".legend"), words.legend)
    write(this.find(".zoom output"), `${this.view.zoom.toFixed(this.view.zoom < 10 ? 1 : 0)}×`)
    this.find(".wall").style.setProperty("--card", SIZES[this.size])
    for (const mode of MODES) this.root.classList.toggle(mode, mode === this.mode)
    this.root.classList.toggle("zoomed", this.view.zoom > 1)
    for (const name of ["zoom", "x", "y"]) this.root.style.setProperty(`--${name}`, this.view[name])
  }

  drawChoice(selector, options, name, label) {
    const group = this.find(selector)
    set(group, "aria-label", label)
    const [title, ...buttons] = fit(group, options.length + 1, () => element(group.children.length ? "button" : "span", ""))
    write(title, label)
    buttons.forEach((button, index) => {
      const option = options[index]
      button.type = "button"
      set(button, "role", "radio")
      set(button, "aria-checked", this[name] === option)
      write(button, this.data.words[option])
      button.onclick = () => this.choose(name, option)
    })
  }

  fillCard(title, grid, place) {
    const { columns, other, resultOf } = this.shown
    write(title, place.prompt)
    grid.style.setProperty("--columns", columns.length)
    const under = this.pictureOf(other, place, other.kind === "reference" ? null : resultOf(other))
    fit(grid, columns.length, makeCell).forEach((cell, index) => {
      const column = columns[index]
      const result = column.kind === "reference" ? null : resultOf(column)
      const picture = this.pictureOf(column, place, result)
      const compared = Boolean(picture && under && (column.kind === "selected" || (this.root.classList.contains("still") && index > (this.hasReferences ? 1 : 0))))
      this.fillCell(cell, column, place, picture, compared ? under : null, result)
    })
  }

  fillCell(cell, column, place, picture, under, result) {
    const [head, frame, numbers, seed, alike] = cell.children
    const { words } = this.data
    const metrics = this.data.metrics.filter(([, , isAlone]) => isAlone !== place.has_reference)
    frame.place = place.key
    frame.classList.toggle("compared", Boolean(under))
    set(frame, "aria-label", picture?.alt ?? words.nothing)
    fillImage(frame.children[0], under)
    fillImage(frame.children[1], picture)
    write(head, column.title)
    write(frame.children[3], under ? this.shown.other.title : "")
    write(frame.children[4], under ? column.title : "")
    const missing = column.kind === "reference" ? words.noReference : words.nothing
    write(frame.children[2], picture ? "" : result?.reason || missing)
    const values = picture?.sample?.metrics
    const spelled = metrics.map(([name, label]) => (cell.closest(".lens") ? `${label} ${spell(values?.[name])}` : spell(values?.[name])))
    write(numbers, values ? spelled.join(" · ") : "")
    set(cell, "title", values ? metrics.map(([name, label]) => `${label} ${values[name] ?? "–"}`).join("\n") : undefined)
    write(seed, picture?.sample ? `${words.seed} ${picture.sample.seed}` : "")
    this.fillLookalikes(alike, column, picture?.sample)
  }

  // The training pictures that a sample resembles, small, under it.
  fillLookalikes(alike, column, sample) {
    const found = this.data.pointers.filter(([name]) => sample?.lookalikes?.[name])
    alike.hidden = !found.length
    fit(alike, found.length, makeLookalike).forEach((lookalike, index) => {
      const [name, label] = found[index]
      const { id, image } = sample.lookalikes[name]
      const path = `evaluations/${folder(column.step)}/lookalikes/${image}`
      const src = image ? this.pictureUrl(column.run, path, this.versionOf(column.run, column.step)) : ""
      fillImage(lookalike.children[0], src ? { src, alt: `${label}: ${id}` } : null)
      write(lookalike.children[1], `${label}: ${id}`)
    })
  }

  drawLens() {
    const place = this.shown.places.find(({ key }) => key === this.open)
    const lens = this.find(".lens")
    if (!place) return lens.close()
    this.filling = "lens"
    this.fillCard(lens.querySelector(".prompt"), lens.querySelector(".grid"), place)
    this.filling = "wall"
    if (!lens.open) lens.showModal()
  }

  choose(name, value) {
    this[name] = value
    this.draw()
  }

  go(step) {
    if (step === undefined || step === this.step) return
    this.picked = step
    this.draw()
    clearTimeout(this.telling)
    this.telling = setTimeout(() => this.tell(step), 400)
    const index = this.steps.indexOf(step)
    for (const near of [this.steps[index - 1], this.steps[index + 1]]) if (near !== undefined) this.load(this.data.run, near)
  }

  zoomBy(factor) {
    const before = this.view.zoom
    const zoom = Math.min(16, Math.max(1, before * factor))
    this.pan((this.view.x * zoom) / before, (this.view.y * zoom) / before, zoom)
    if (before === 1 || zoom === 1) this.draw()
  }

  pan(x, y, zoom = this.view.zoom) {
    const limit = 50 * (zoom - 1)
    const clamp = (value) => Math.min(limit, Math.max(-limit, value))
    this.view = { zoom, x: clamp(x), y: clamp(y) }
    this.drawBar()
  }

  walk(count) {
    const keys = this.shown.places.map(({ key }) => key)
    const focused = this.root.getRootNode().activeElement
    const at = keys.indexOf(this.open ?? focused?.place)
    const next = keys[Math.min(keys.length - 1, Math.max(0, at + count))]
    if (this.open !== undefined) {
      this.open = next
      this.drawLens()
      return
    }
    const column = focused?.closest?.(".grid") ? [...focused.closest(".grid").children].indexOf(focused.parentElement) : 0
    this.find(".wall").children[keys.indexOf(next)]?.querySelectorAll(".frame")[column]?.focus()
  }

  press(event) {
    const { key } = event
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=range]")) return
    const index = this.steps.indexOf(this.step)
    const actions = {
      ArrowRight: () => this.walk(1),
      ArrowLeft: () => this.walk(-1),
      ArrowUp: () => this.go(this.steps[index + 1]),
      ArrowDown: () => this.go(this.steps[index - 1]),
      Home: () => this.go(this.steps[0]),
      End: () => this.go(this.steps.at(-1)),
      "*": () => this.data.best !== null && this.go(this.data.best),
      b: () => this.choose("against", "base"),
      r: () => this.choose("against", "reference"),
      n: () => this.choose("against", "newest"),
      "+": () => this.zoomBy(1.5),
      "-": () => this.zoomBy(1 / 1.5),
      0: () => this.zoomBy(0),
      " ": () => this.root.classList.add("peek"),
    }
    const act = KEYS[key] ? () => this.choose("mode", KEYS[key]) : actions[key]
    if (!act || (key === " " && !event.target.matches(".frame, .lens"))) return
    event.preventDefault()
    act()
  }

  listen() {
    const { root } = this
    const lens = this.find(".lens")
    this.find(".slider").oninput = ({ target }) => this.go(this.steps[Number(target.value)])
    this.find("[data-jump=best]").onclick = () => this.go(this.data.best)
    this.find("[data-jump=newest]").onclick = () => this.go(this.steps.at(-1))
    this.find("[data-zoom=in]").onclick = () => this.zoomBy(1.5)
    this.find("[data-zoom=out]").onclick = () => this.zoomBy(1 / 1.5)
    this.find(".close").onclick = () => lens.close()
    lens.onclose = () => (this.open = undefined)
    root.onkeydown = (event) => this.press(event)
    root.onkeyup = ({ key }) => key === " " && root.classList.remove("peek")
    root.onpointerdown = (event) => this.grab(event)
    root.onpointermove = (event) => this.drag(event)
    root.onpointerup = root.onpointercancel = () => (this.held = undefined)
    root.onclick = (event) => this.click(event)
    root.addEventListener("wheel", (event) => this.roll(event), { passive: false })
  }

  grab(event) {
    this.moved = false
    const frame = event.target.closest(".frame")
    if (frame && this.view.zoom > 1) this.held = { x: event.clientX, y: event.clientY, from: this.view, width: frame.clientWidth }
  }

  drag(event) {
    const frame = event.target.closest?.(".frame")
    if (this.held) {
      const { x, y, from, width } = this.held
      this.moved ||= Math.hypot(event.clientX - x, event.clientY - y) > 4
      this.pan(from.x + (100 * (event.clientX - x)) / width, from.y + (100 * (event.clientY - y)) / width)
    } else if (this.mode === "wipe" && frame?.classList.contains("compared")) {
      const box = frame.getBoundingClientRect()
      this.root.style.setProperty("--wipe", (100 * (event.clientX - box.left)) / box.width)
    }
  }

  click(event) {
    const frame = event.target.closest(".frame")
    if (!frame || this.moved || this.data.plain || this.open !== undefined) return
    this.open = frame.place
    this.drawLens()
  }

  roll(event) {
    if (!event.target.closest(".frame") || !(event.ctrlKey || this.open !== undefined)) return
    event.preventDefault()
    this.zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15)
  }
}

// A place on the wall is a prompt and the how-manyeth picture of it, so that runs with other seeds can stand side by side.
function byPlace(result) {
  if (!result) return null
  const counts = new Map()
  const samples = new Map()
  for (const sample of result.samples) {
    const count = counts.get(sample.prompt_id) ?? 0
    counts.set(sample.prompt_id, count + 1)
    samples.set(`${sample.prompt_id} ${count}`, sample)
  }
  return { reason: result.reason, samples }
}

function placesOf(loaded, limit) {
  const places = new Map()
  for (const [source, result] of loaded) {
    const run = source.slice(0, source.lastIndexOf(" "))
    for (const [key, { prompt, prompt_id, has_reference = true }] of result?.samples ?? []) {
      if (!places.has(key)) places.set(key, { key, prompt, prompt_id, has_reference, run })
    }
  }
  return [...places.values()].slice(0, limit ?? undefined)
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".room")
  if (!rooms.has(root)) rooms.set(root, new Room(root))
  rooms.get(root).update(data, (step) => setStateValue?.("step", step))
}
