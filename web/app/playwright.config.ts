/* The tests of the page: Debian's Chromium against a server that test/run.sh has started (CASEMIX_URL). */
import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: "test",
  outputDir: process.env.CASEMIX_TEST_OUT ?? "/tmp/casemix-page-test",
  workers: 1, // one server, one reviewer: what a test reviews, another sees
  timeout: 120_000,
  expect: { timeout: 30_000 },
  forbidOnly: true,
  reporter: [["list"]],
  use: {
    baseURL: process.env.CASEMIX_URL ?? "http://127.0.0.1:8080",
    viewport: { width: 1280, height: 800 },
    locale: "en-US",
    timezoneId: "UTC",
    acceptDownloads: true,
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-quic"], // CI runs as root, and has no network
    },
  },
});
