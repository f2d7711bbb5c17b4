/* Puts style, chart library and script into the one page that `casemix report` fills: page.html. */
import { readFileSync, writeFileSync } from "node:fs";

const here = new URL(".", import.meta.url);
const read = (path) => readFileSync(new URL(path, here), "utf8");
const library = "node_modules/uplot/";
const version = JSON.parse(read(library + "package.json")).version;
const licence = `/*! uPlot ${version}\n${read(library + "LICENSE").trim()}\n*/\n`;
const script = `${licence}${read(library + "dist/uPlot.iife.min.js")}\nconst uPlotVersion = "${version}";\n${read("report.js")}`;
const page = read("template.html")
  .replace("/*STYLE*/", () => read(library + "dist/uPlot.min.css") + read("style.css"))
  .replace("/*SCRIPT*/", () => script.replaceAll("</script", "<\\/script"));
writeFileSync(new URL("page.html", here), page);
