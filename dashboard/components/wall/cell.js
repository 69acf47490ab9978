// A picture in its frame with what stands above and below it. In the frame of a later side the first side's picture lies
// below, to be wiped, blinked and subtracted; the mode is that of the nearest ancestor with data-mode.
// A picture: {title, url, alt, missing, numbers: [{name, value, mark, words}], seed, alike: [{url, text}]}.

import { button, fit, make, mark, set, show, write } from "./dom.js"

export const MODES = ["side", "wipe", "blink", "difference"]
const SIGNS = { better: "▲", worse: "▼", equal: "=" }

export function makeCell() {
  return make("figure", "darkroom-cell", make("figcaption", "head"), makeFrame(), make("div", "numbers"), make("div", "seed"), make("div", "alike"))
}

export function fillCell(cell, picture, under, words) {
  const [head, frame, numbers, seed, alike] = cell.children
  write(head, picture.title)
  fillFrame(frame, picture, under, words)
  fillNumbers(numbers, picture.numbers)
  write(seed, picture.seed)
  show(seed, picture.seed)
  fillAlike(alike, picture.alike ?? [])
}

export function makeFrame() {
  const divider = make("input", "divider")
  divider.type = "range"
  divider.value = 50
  const frame = make("div", "frame darkroom-frame", makeImage("below"), makeImage("above"), make("span", "missing"))
  frame.append(make("span", "tag left"), make("span", "tag right"), button("enlarge"), divider)
  divider.oninput = () => moveDivider(frame, divider.value)
  return frame
}

// Another picture of the same place fades in; the first one is there at once.
export function fillFrame(frame, picture, under, words) {
  const [below, above, missing, left, right, enlarge, divider] = frame.children
  fillImage(above, picture, () => write(missing, picture.url ? words.missingFile : picture.missing || words.nothing))
  fillImage(below, under)
  write(left, under?.title)
  write(right, picture.title)
  set(enlarge, "aria-label", words.enlarge.replace("{picture}", picture.alt || picture.title))
  set(divider, "aria-label", under ? words.divider.replace("{left}", under.title).replace("{right}", picture.title) : null)
  if (divider !== document.activeElement) divider.value = frame.closest("[data-mode]")?.dataset.wipe ?? 50
  mark(frame, "comparable", under?.url && picture.url)
}

export function fillNumbers(node, numbers = []) {
  fit(node, numbers.length, () => make("div", "number", make("span"), make("span", "value"), make("span", "mark"))).forEach((row, index) => {
    const { name, value, mark: sign, words } = numbers[index]
    write(row.children[0], name)
    write(row.children[1], value)
    write(row.children[2], SIGNS[sign])
    row.dataset.mark = sign ?? ""
    set(row, "title", words)
  })
}

// All pictures of a group are wiped together.
function moveDivider(frame, value) {
  const group = frame.closest("[data-mode]") ?? frame
  group.style.setProperty("--wipe", value)
  group.dataset.wipe = value
  for (const other of group.querySelectorAll(".divider")) other.value = value
}

function makeImage(className) {
  const image = make("img", className)
  image.loading = "lazy"
  image.decoding = "async"
  image.draggable = false
  image.onload = () => {
    mark(image, "enlarged", image.naturalWidth < image.clientWidth * devicePixelRatio)
    mark(image.parentElement, "broken", false)
  }
  return image
}

// sayWhy: called if there is no picture, or its file cannot be shown.
function fillImage(image, picture, sayWhy) {
  const url = picture?.url || ""
  image.onerror = () => {
    show(image, false)
    sayWhy?.()
    mark(image.parentElement, "broken", true)
  }
  if (image.getAttribute("src") === url && url) return set(image, "alt", picture.alt)
  show(image, url)
  mark(image.parentElement, "broken", false)
  if (!url) {
    image.removeAttribute("src")
    sayWhy?.()
    return
  }
  const isAnother = image.hasAttribute("src")
  set(image, "alt", picture.alt)
  set(image, "src", url)
  if (isAnother && picture.fades) image.animate?.([{ opacity: 0 }, { opacity: 1 }], matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 500)
}

// The training pictures that a sample resembles, small, under it.
function fillAlike(node, found) {
  show(node, found.length)
  fit(node, found.length, () => make("div", "lookalike", make("img"), make("span"))).forEach((row, index) => {
    const [image, text] = row.children
    show(image, found[index].url)
    if (found[index].url) set(image, "src", found[index].url)
    set(image, "alt", found[index].text)
    write(text, found[index].text)
  })
}
