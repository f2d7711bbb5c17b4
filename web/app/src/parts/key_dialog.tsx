/* Asks for the API key when the server wants one. The key is kept in memory until the page is closed or reloaded. */
import { useState } from "preact/hooks";
import { keyWanted, setKey } from "../server/client";
import { connect, connectionFault } from "../server/connection";
import { Dialog } from "./dialog";

export function KeyDialog() {
  const [key, set] = useState("");
  if (!keyWanted.value) return null;
  const submit = (event: Event) => {
    event.preventDefault();
    setKey(key);
    set("");
    void connect();
  };
  return (
    <Dialog title="This server wants a key" name="key" onClose={() => (keyWanted.value = false)}>
      <form onSubmit={submit}>
        <label for="api-key">API key</label>
        <input id="api-key" type="password" autocomplete="off" required autofocus value={key}
          onInput={(event) => set(event.currentTarget.value)} />
        <p class="hint" role="status">{connectionFault.value ?? "Kept in this page's memory only; a reload asks again."}</p>
        <button type="submit" class="main">Sign in</button>
      </form>
    </Dialog>
  );
}
