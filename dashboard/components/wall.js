// Fills the wall from data: {columns: [title], cards: [{prompt, reference, rows: [{seed, cells}]}]}.
// Elements are reused by position and touched only where something differs. Text only ever goes through textContent.

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
  if (target.getAttribute(name) !== value) target.setAttribute(name, value)
}

function write(target, text) {
  if (target.textContent !== text) target.textContent = text
}

function makeCard() {
  return element("section", "card", element("h3", "prompt"), element("div", "grid"))
}

function makeHead() {
  return element("div", "head")
}

function makeCell() {
  const image = element("img", "")
  image.loading = "lazy"
  image.decoding = "async"
  image.onload = () => image.classList.toggle("enlarged", image.naturalWidth < image.clientWidth * devicePixelRatio)
  const frame = element("a", "frame", image)
  frame.target = "_blank"
  return element("div", "cell", frame, element("div", "caption"))
}

function fillCell(cell, { src, alt = "", title = "", caption = "" }) {
  const [frame, text] = cell.children
  const image = frame.firstElementChild
  frame.toggleAttribute("data-empty", !src)
  if (src) {
    set(frame, "href", src)
    set(image, "alt", alt)
    set(image, "src", src)
  } else {
    frame.removeAttribute("href")
    image.removeAttribute("src")
    image.removeAttribute("alt")
  }
  set(cell, "title", title)
  write(text, caption)
}

function fillCard(card, { prompt, reference, rows }, columns) {
  const [title, grid] = card.children
  write(title, prompt)
  grid.style.setProperty("--columns", columns.length)
  const [heads, cells] = parts(grid)
  fit(heads, columns.length, makeHead).forEach((head, index) => write(head, columns[index]))
  const shown = rows.flatMap(({ seed, cells: row }, index) => [
    index === 0 ? { ...reference, caption: `seed ${seed}` } : { caption: `seed ${seed}` },
    ...row.map((cell) => cell ?? { caption: "no picture" }),
  ])
  fit(cells, shown.length, makeCell).forEach((cell, index) => fillCell(cell, shown[index]))
}

function parts(grid) {
  return fit(grid, 2, () => {
    const part = element("div", "part")
    part.style.display = "contents"
    return part
  })
}

export default function ({ data, parentElement }) {
  const wall = parentElement.querySelector(".wall")
  fit(wall, data.cards.length, makeCard).forEach((card, index) => fillCard(card, data.cards[index], data.columns))
}
