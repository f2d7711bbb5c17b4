/* Looks a DRG up by words of its title or the beginning of its code, and gives the one that is picked: a combobox with
 * a list, as the ARIA Authoring Practices describe it. */
import { useEffect, useRef, useState } from "preact/hooks";
import { code, days, title, weight } from "../figures/format";
import { catalogSearch } from "../server/client";
import { faultText } from "../server/connection";
import type { Drg } from "../server/contract";
import { Severity } from "./severity";

const SHOWN = 30;

export function CatalogSearch({ grouper, start, onPick }: { grouper: string; start: string; onPick: (drg: Drg) => void }) {
  const [query, setQuery] = useState(start);
  const [found, setFound] = useState<Drg[]>([]);
  const [total, setTotal] = useState(0);
  const [at, setAt] = useState(0);
  const [fault, setFault] = useState<string | null>(null);
  const list = useRef<HTMLUListElement>(null);

  useEffect(() => {
    const asked = new AbortController();
    const timer = setTimeout(() => {
      catalogSearch(query, grouper, SHOWN, asked.signal)
        .then((answer) => {
          setFound(answer.drgs);
          setTotal(answer.total);
          setAt(0);
          setFault(null);
        })
        .catch((error: unknown) => asked.signal.aborted || setFault(faultText(error)));
    }, 80);
    return () => {
      clearTimeout(timer);
      asked.abort();
    };
  }, [query, grouper]);

  useEffect(() => {
    list.current?.children[at]?.scrollIntoView({ block: "nearest" });
  }, [at, found]);

  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      setAt(Math.max(0, Math.min(found.length - 1, at + step)));
    } else if (event.key === "Enter") {
      event.preventDefault();
      const picked = found[at];
      if (picked) onPick(picked);
    }
  };

  return (
    <div class="catalog-search">
      <label for="catalog-query">Words of the title, or a code</label>
      <input id="catalog-query" type="text" role="combobox" autocomplete="off" spellcheck={false} autofocus
        aria-expanded={found.length > 0} aria-controls="catalog-found" aria-autocomplete="list"
        aria-activedescendant={found[at] ? `catalog-${found[at].drg}` : undefined}
        value={query} onInput={(event) => setQuery(event.currentTarget.value)} onKeyDown={onKeyDown} />
      <p class="hint" role="status">
        {fault ?? (total === 0 ? `Nothing in ${grouper} fits.` : `${total} in ${grouper}${total > SHOWN ? `, the best ${SHOWN} shown` : ""}; ↑ ↓ and Enter`)}
      </p>
      <ul id="catalog-found" role="listbox" aria-label="DRGs found" ref={list} tabIndex={-1}>
        {found.map((drg, index) => (
          <li key={drg.drg} id={`catalog-${drg.drg}`} role="option" aria-selected={index === at}
            onPointerMove={() => index !== at && setAt(index)} onClick={() => onPick(drg)}>
            <b>{code(drg.drg)}</b>
            <span class="title">{title(drg.title)}</span>
            <Severity severity={drg.severity} />
            <span class="figure">{weight(drg.weight)}</span>
            <span class="figure">{days(drg.gmlos)} d</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
