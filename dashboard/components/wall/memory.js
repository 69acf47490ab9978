// What is enlarged stays enlarged when the page is loaded again: the tab keeps it, with the place on which it was opened.

const NAME = "darkroom-enlarged"

// place: which pictures of which run; without one, as in a report, nothing is kept. state: null once it is closed.
export function keep(place, state) {
  if (!place) return
  try {
    if (state) sessionStorage.setItem(NAME, JSON.stringify({ place, ...state }))
    else sessionStorage.removeItem(NAME)
  } catch {
    // a browser that keeps nothing
  }
}

export function kept(place) {
  try {
    const state = JSON.parse(sessionStorage.getItem(NAME))
    return place && state?.place === place ? state : null
  } catch {
    return null
  }
}
