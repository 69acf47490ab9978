// Streamlit adds an entry to the browser's history whenever the address says more of the same page. Back is meant for pages.
;(() => {
  const { pushState, replaceState } = history
  history.pushState = function (state, title, url) {
    const isSamePage = url && new URL(url, location.href).pathname === location.pathname
    return (isSamePage ? replaceState : pushState).call(this, state, title, url)
  }
})()
