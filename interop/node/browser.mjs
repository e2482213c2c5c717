// Drives a headless Chromium.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { serve } from "./lines.mjs";

let context, dir;
const pages = new Map();
const faults = [];

// What Chromium says of a server that is not there, or is going.
const away = /net::ERR_|WebSocket connection to|status of (400|503)/;

serve({
  async start({ executable, width, height }) {
    dir = await mkdtemp(join(tmpdir(), "sockeye-chromium-"));
    context = await chromium.launchPersistentContext(dir, {
      executablePath: executable,
      headless: true,
      viewport: { width, height },
      args: [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync",
      ],
    });
  },
  async open({ name, url }) {
    const page = await context.newPage();
    page.on("pageerror", (e) => faults.push(`${name}: ${e}`));
    page.on("console", (m) => { if (m.type() === "error" && !away.test(m.text())) faults.push(`${name}: ${m.text()}`); });
    pages.set(name, page);
    await page.goto(url);
  },
  async fill({ name, at, text }) { await pages.get(name).fill(at, text); },
  async press({ name, at, key }) { await pages.get(name).press(at, key); },
  async click({ name, at }) {
    await pages.get(name).bringToFront(); // a tab in the background draws rarely, and a click waits for that
    await pages.get(name).click(at);
  },
  async focus({ name, at }) { await pages.get(name).focus(at); },
  async select({ name, at, value }) { await pages.get(name).selectOption(at, value); },
  async upload({ name, at, file, body }) {
    await pages.get(name).setInputFiles(at, { name: file, mimeType: "application/octet-stream", buffer: body });
  },
  async look({ name, scheme }) { await pages.get(name).emulateMedia({ colorScheme: scheme }); },
  // see waits until an element has the text.
  async see({ name, at, text }) { await pages.get(name).locator(at, { hasText: text }).first().waitFor({ timeout: 15_000 }); },
  async text({ name, at }) { return pages.get(name).locator(at).allTextContents(); },
  async count({ name, at }) { return pages.get(name).locator(at).count(); },
  async resize({ name, width, height }) { await pages.get(name).setViewportSize({ width, height }); },
  async overflow({ name }) {
    return pages.get(name).evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  },
  async screenshot({ name, path }) { await pages.get(name).screenshot({ path }); },
  async faults() { return faults; },
  async stop() {
    await context.close();
    await rm(dir, { recursive: true, force: true });
  },
});
