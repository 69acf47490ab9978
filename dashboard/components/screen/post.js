// What a person asks for goes to the server at once, whatever Streamlit is doing meanwhile. Returns what the server says,
// with {error} where it did not do it; null if it did not answer.
export async function post(url, body) {
  try {
    const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), keepalive: true })
    return await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` }))
  } catch {
    return null
  }
}
