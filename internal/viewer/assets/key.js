// The API key, and the dialog that asks for it. The key is kept in
// sessionStorage: other tabs do not have it, and closing the tab deletes it.

import { byId } from "./dom.js";
import { reload } from "./state.js";

const STORAGE_KEY = "apiKey";

const dialog = byId("keyDialog", HTMLDialogElement);
const form = byId("keyForm", HTMLFormElement);
const input = byId("keyInput", HTMLInputElement);
const errorText = byId("keyError");

/** Returns the API key, or "" if there is none. */
export function apiKey() {
  return sessionStorage.getItem(STORAGE_KEY) ?? "";
}

export function forgetKey() {
  sessionStorage.removeItem(STORAGE_KEY);
}

/** Opens the dialog, or shows in it that the key was rejected. */
export function askForKey() {
  errorText.hidden = !apiKey();
  errorText.textContent = apiKey() ? "The server rejected this key." : "";
  if (dialog.open) return;
  input.value = "";
  dialog.showModal();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(STORAGE_KEY, input.value.trim());
  dialog.close();
  reload();
});
