// Small helps; every page works without them.
"use strict";

// Times are in UTC; where one is pointed at, local time is shown.
for (const time of document.querySelectorAll("time[datetime]")) {
  const date = new Date(time.dateTime);
  if (!Number.isNaN(date.valueOf())) {
    time.title = date.toLocaleString();
  }
}

// Empty fields would only make the address of a search longer.
for (const form of document.querySelectorAll("form[method=get]")) {
  form.addEventListener("submit", () => {
    for (const field of form.elements) {
      if (field.name && field.value === "") {
        field.disabled = true;
      }
    }
  });
}
// Going back shows the form as it was, and it can be filled again.
window.addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("form[method=get] :disabled")) {
    field.disabled = false;
  }
});

// A page that asks for it is loaded again while it is in sight.
const every = Number(document.body.dataset.reload);
if (every > 0) {
  setInterval(() => {
    const busy = document.activeElement && document.activeElement.matches("input, select");
    if (!document.hidden && !busy) {
      location.reload();
    }
  }, every * 1000);
}
