// The TypeScript SDK's client: client.mjs STEPS OUT COMMAND... does the steps, and writes what came of each.

import { readFileSync, writeFileSync } from "node:fs";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

const [steps, out, command, ...args] = process.argv.slice(2);
const notes = [];
const client = new Client(
  { name: "interop", version: "1.0.0" },
  { capabilities: { sampling: {}, elicitation: { form: {} } } },
);
client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
  notes.push({ sampling: params });
  return { role: "assistant", content: { type: "text", text: "perhaps" }, model: "none" };
});
client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
  notes.push({ elicitation: params });
  return { action: "decline" };
});
client.setNotificationHandler(LoggingMessageNotificationSchema, (note) => {
  notes.push({ log: note.params });
});
const onprogress = ({ progress, total, message }) => notes.push({ progress: [progress, total, message] });

async function act(step) {
  try {
    if (step.call) {
      return await client.callTool({ name: step.call, arguments: step.args ?? {} }, undefined, { onprogress });
    }
    if (step.together) return await Promise.all(step.together.map(act));
    if (step.cancel) {
      const { call: name, args: callArgs } = step.cancel;
      const signal = AbortSignal.timeout(300);
      await client.callTool({ name, arguments: callArgs }, undefined, { signal }).catch(() => {});
      return "cancelled";
    }
    if (step.list === "tools") return await client.listTools();
    if (step.list === "resources") return await client.listResources();
    if (step.list === "templates") return await client.listResourceTemplates();
    if (step.list === "prompts") return await client.listPrompts();
    if (step.read) return await client.readResource({ uri: step.read });
    if (step.prompt) return await client.getPrompt({ name: step.prompt, arguments: step.args ?? {} });
    if (step.ping) return await client.ping();
  } catch (error) {
    return { raised: String(error) };
  }
  throw new Error(JSON.stringify(step));
}

await client.connect(new StdioClientTransport({ command, args, env: process.env }));
const transcript = [client.getServerCapabilities(), client.getServerVersion()];
for (const step of JSON.parse(readFileSync(steps, "utf8"))) transcript.push(await act(step));
await client.close();
writeFileSync(out, JSON.stringify({ transcript, notes }, null, 1));
