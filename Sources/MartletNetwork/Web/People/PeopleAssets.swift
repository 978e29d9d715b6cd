import MartletCore
import NIOCore
import NIOHTTP1

/// What the white pages load besides: how they look, and how their presence is kept up. The same for everybody.
struct PeopleAsset: WebResource {
    let methods = [HTTPMethod.GET]
    let bodyBytesMax = 0
    let isForScripts = false
    private let type: String
    private let text: String

    func answer(_ request: WebRequest, on connection: WebConnection) {
        connection.answer(WebAnswer(.ok, type: type, ByteBuffer(string: text), ["Cache-Control": "max-age=3600"]))
    }

    static let style = PeopleAsset(
        type: "text/css; charset=utf-8",
        text: """
            :root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.4 }
            main { max-width: 64rem; margin: 1rem auto; padding: 0 1rem }
            a { color: LinkText }
            .account { float: right; margin: 0 }
            .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
            label { display: block; margin: .8rem 0 .2rem }
            input { padding: .5rem; font: inherit; box-sizing: border-box; max-width: 100% }
            label > input, label > span { display: block; width: 20rem; max-width: 100% }
            label ~ button { margin-top: .5rem }
            button { padding: .5rem 1rem; border: 0; border-radius: .4rem; background: #1d5b8c; color: #fff; font: inherit }
            .letters { margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .2rem }
            .letters a { padding: .2rem .5rem; text-decoration: none }
            .letters a[aria-current] { background: #1d5b8c; color: #fff; border-radius: .3rem }
            table { border-collapse: collapse; width: 100%; table-layout: fixed }
            tr { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent) }
            thead tr { border: 0 }
            th, td { text-align: start; padding: .4rem; overflow-wrap: anywhere; overflow: hidden }
            th:nth-child(1) { width: 48px }
            th:nth-child(2) { width: 24% }
            th:nth-child(7) { width: 3rem }
            th small { font-weight: normal }
            .photo img { display: block; border-radius: 50%; object-fit: cover }
            .dot { display: inline-block; width: .8em; height: .8em; margin-inline-end: .4em; border-radius: 50%; border: .12em solid currentColor; box-sizing: border-box }
            .chat .dot, .available .dot { background: #1a7f37; border-color: #1a7f37 }
            .away .dot, .xa .dot { background: #bf8700; border-color: #bf8700 }
            .dnd .dot { background: #c62828; border-color: #c62828 }
            .unknown .dot { display: none }
            .pages { margin: 1rem 0 }
            .problem { border-left: .3rem solid #b3261e; padding-left: .7rem }
            @media (max-width: 40rem) {
                thead { display: none }
                tr { display: grid; grid-template-columns: 56px 1fr; padding: .6rem 0 }
                th[scope=row], td { display: block; width: auto; padding: .1rem 0; grid-column: 2 }
                .photo { grid-column: 1; grid-row: 1 / span 6 }
                .empty { display: none }
                td[data-label]::before { content: attr(data-label) ": "; opacity: .7 }
            }
            @media print {
                form, nav, .account { display: none }
                a { color: inherit; text-decoration: none }
                tr { break-inside: avoid }
            }

            """)

    /// Texts go into the page as texts, and classes by a list.
    static let script = PeopleAsset(
        type: "text/javascript; charset=utf-8",
        text: """
            "use strict";
            (function () {
                var shows = ["chat", "available", "away", "xa", "dnd", "offline"];
                var rows = new Map();
                document.querySelectorAll("tr[data-id]").forEach(function (row) { rows.set(row.dataset.id, row); });
                if (rows.size === 0 || !window.EventSource) { return; }
                var ids = Array.from(rows.keys()).map(encodeURIComponent).join(",");
                var news = document.getElementById("news");
                var source = new EventSource("/people/events?ids=" + ids);
                source.addEventListener("presence", function (event) {
                    var said = JSON.parse(event.data);
                    var row = rows.get(said.id);
                    if (!row) { return; }
                    var place = row.querySelector(".presence");
                    var text = place.querySelector(".text");
                    var before = place.className + text.textContent;
                    place.className = "presence " + (shows.indexOf(said.show) < 0 ? "unknown" : said.show);
                    text.textContent = said.text;
                    if (news && before !== place.className + said.text) {
                        news.textContent = row.querySelector("th bdi").textContent + ": " + said.text;
                    }
                });
            }());

            """)
}
