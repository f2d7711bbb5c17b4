/* The help sheet: every shortcut in force here, from the same list that the keyboard obeys. */
import { signal } from "@preact/signals";
import { groups } from "../keyboard";
import { singleKeys } from "../settings";
import { Dialog } from "./dialog";

export const helpOpen = signal(false);

const SIGNS: Record<string, string> = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };

function Keys({ keys }: { keys: string }) {
  return (
    <>
      {keys.split(" or ").map((way, index) => (
        <>
          {index > 0 && " or "}
          {way.split(" ").map((key, k) => <>{k > 0 && " then "}<kbd>{SIGNS[key] ?? key}</kbd></>)}
        </>
      ))}
    </>
  );
}

export function Help() {
  if (!helpOpen.value) return null;
  return (
    <Dialog title="Keyboard" name="help" onClose={() => (helpOpen.value = false)}>
      <div class="help-groups">
        {groups.value.map((group) => (
          <section key={group.name}>
            <h3>{group.name}</h3>
            <dl>
              {group.shortcuts.filter((shortcut) => !shortcut.hidden).map((shortcut) => (
                <div key={shortcut.keys}>
                  <dt><Keys keys={shortcut.keys} /></dt>
                  <dd>{shortcut.does}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <label class="switch">
        <input type="checkbox" checked={singleKeys.value} onChange={(event) => (singleKeys.value = event.currentTarget.checked)} />
        Single keys are shortcuts (off: only Ctrl+Enter and Esc)
      </label>
    </Dialog>
  );
}
