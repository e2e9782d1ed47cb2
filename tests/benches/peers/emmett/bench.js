// Appends for a while with so many writers, each to streams of 20 events; prints appends per second.
// Arguments: the URL of an empty database, the number of writers, the period in milliseconds.
import { randomUUID } from "node:crypto";
import { getPostgreSQLEventStore } from "@event-driven-io/emmett-postgresql";

const [url, writers, period] = process.argv.slice(2);
const store = getPostgreSQLEventStore(url);
await store.schema.migrate();

async function run(ms) {
  let appended = 0;
  const begun = performance.now();
  const write = async () => {
    while (performance.now() - begun < ms) {
      const stream = `project-${randomUUID()}`;
      for (let n = 0; n < 20 && performance.now() - begun < ms; n++) {
        const event = { type: "Renamed", data: { name: `project ${n}` } };
        await store.appendToStream(stream, [event], { expectedStreamVersion: BigInt(n) });
        appended++;
      }
    }
  };
  await Promise.all(Array.from({ length: Number(writers) }, write));
  return appended / ((performance.now() - begun) / 1000);
}

await run(Number(period) / 3);
console.log(await run(Number(period)));
await store.close();
