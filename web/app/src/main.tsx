/* Starts the page. */
import { render } from "preact";
import { App } from "./app";
import { startKeyboard } from "./keyboard";
import { connect } from "./server/connection";
import "./style/base.css";
import "./style/parts.css";
import "./style/note.css";
import "./style/batch.css";
import "./style/review.css";

startKeyboard();
render(<App />, document.getElementById("page")!);
void connect();
