import MartletCore
import MartletTesting
import MartletXMPP
import NIOCore
import Testing

/// A queue as tests speak with it.
private final class Queue {
    private var queue: ClientStateQueue
    init(_ limits: ClientStateQueue.Limits = .init()) { queue = ClientStateQueue(limits) }

    var count: Int { queue.count }
    var bytes: Int { queue.bytes }
    func hold(_ xml: String) -> Bool { queue.hold(EncodedStanza(ByteBuffer(string: xml))) }
    func release() -> [String] { queue.release().map { String(buffer: $0.bytes) } }
}

@Suite("XEP-0352: what can wait for a client that nobody looks at")
struct ClientStateQueueTests {
    private static let states = "http://jabber.org/protocol/chatstates"

    private static func presence(_ from: String, _ content: String = "", type: String? = nil) -> String {
        "<presence from='\(from)' to='juliet@capulet.example/phone'\(type.map { " type='\($0)'" } ?? "")>\(content)</presence>"
    }
    private static func message(_ content: String, from: String = "romeo@capulet.example/orchard", type: String = "chat") -> String {
        "<message from='\(from)' to='juliet@capulet.example/phone' type='\(type)'>\(content)</message>"
    }
    private static func state(_ name: String, from: String = "romeo@capulet.example/orchard") -> String {
        message("<\(name) xmlns='\(states)'/>", from: from)
    }
    private static func carbon(_ direction: String, _ content: String, from: String, to: String, by account: String = "juliet@capulet.example") -> String {
        message(
            """
            <\(direction) xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
            <message xmlns='jabber:client' from='\(from)' to='\(to)' type='chat'>\(content)</message></forwarded></\(direction)>
            """, from: account)
    }

    @Test(
        "presence and lone chat states wait",
        arguments: [
            presence("romeo@capulet.example/orchard"),
            presence("romeo@capulet.example/orchard", "<show>away</show><c xmlns='http://jabber.org/protocol/caps' ver='x'/>"),
            presence("romeo@capulet.example/orchard", type: "unavailable"),
            presence("room@rooms.example/nurse", "<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/><status code='307'/></x>"),
            state("composing"), state("gone"), state("active", from: "room@rooms.example/nurse"),
            message("<paused xmlns='\(states)'/><thread>t</thread><no-store xmlns='urn:xmpp:hints'/><origin-id xmlns='urn:xmpp:sid:0' id='o'/>"),
            message("\n<active xmlns='\(states)'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/>", from: "room@rooms.example/a", type: "groupchat"),
            message("<composing xmlns='\(states)'/>", type: "normal"),
            carbon("received", "<composing xmlns='\(states)'/>", from: "romeo@capulet.example/orchard", to: "juliet@capulet.example/desk"),
            carbon("sent", "<composing xmlns='\(states)'/>", from: "juliet@capulet.example/desk", to: "romeo@capulet.example"),
        ])
    func waits(xml: String) {
        let queue = Queue()
        #expect(queue.hold(xml))
        #expect(queue.count == 1 && queue.bytes == xml.utf8.count)
        #expect(queue.release() == [xml])
        #expect(queue.count == 0 && queue.bytes == 0)
        #expect(queue.release() == [])
    }

    @Test(
        "everything else goes out at once",
        arguments: [
            "<iq from='romeo@capulet.example/orchard' type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>",
            "<iq type='result' id='q'/>",
            presence("romeo@capulet.example", type: "subscribe"), presence("romeo@capulet.example", type: "subscribed"),
            presence("romeo@capulet.example", type: "unsubscribe"), presence("romeo@capulet.example", type: "unsubscribed"),
            presence("room@rooms.example/juliet", type: "error"),
            presence("room@rooms.example/juliet", "<x xmlns='http://jabber.org/protocol/muc#user'><item/><status code='100'/><status code='110'/></x>"),
            presence("room@rooms.example/juliet", "<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x>", type: "unavailable"),
            "<presence to='juliet@capulet.example/phone'/>",
            message("<body>b</body>"), message("<body>b</body><active xmlns='\(states)'/>"), message(""), message("<active xmlns='urn:example:other'/>"),
            message("<received xmlns='urn:xmpp:receipts' id='m'/>"), message("<displayed xmlns='urn:xmpp:chat-markers:0' id='m'/>"),
            message("<active xmlns='\(states)'/><request xmlns='urn:xmpp:receipts'/>"),
            message("<composing xmlns='\(states)'/><encrypted xmlns='urn:xmpp:omemo:2'/>"), message("<subject/>", type: "groupchat"),
            message("<composing xmlns='\(states)'/><store xmlns='urn:xmpp:hints'/>"), message("<no-store xmlns='urn:xmpp:hints'/>"),
            message("<composing xmlns='\(states)'/><delay xmlns='urn:xmpp:delay' stamp='2020-09-13T12:26:40Z'/>"),
            message("<composing xmlns='\(states)'/>", type: "error"), message("text<composing xmlns='\(states)'/>"),
            message("<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'/></event>", type: "headline"),
            message("<result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'>\(state("composing"))</forwarded></result>"),
            carbon("received", "<body>b</body>", from: "romeo@capulet.example/orchard", to: "juliet@capulet.example"),
            carbon("sent", "<displayed xmlns='urn:xmpp:chat-markers:0' id='m'/>", from: "juliet@capulet.example/desk", to: "romeo@capulet.example"),
            // Somebody who plays the account's server.
            carbon("received", "<composing xmlns='\(states)'/>", from: "romeo@capulet.example", to: "juliet@capulet.example", by: "tybalt@capulet.example"),
        ])
    func doesNotWait(xml: String) {
        let queue = Queue()
        #expect(!queue.hold(xml))
        #expect(queue.count == 0 && queue.bytes == 0)
    }

    @Test("the newest about one subject replaces the older one and takes its own place in the order")
    func newest() {
        let queue = Queue()
        let stanzas = [
            Self.presence("romeo@capulet.example/orchard"), Self.presence("romeo@capulet.example/garden"), Self.state("composing"),
            Self.presence("romeo@capulet.example/orchard", "<show>away</show>"),
            Self.state("composing", from: "nurse@capulet.example/hall"), Self.state("paused"),
            Self.carbon("sent", "<active xmlns='\(Self.states)'/>", from: "juliet@capulet.example/desk", to: "romeo@capulet.example/orchard"),
            Self.carbon("received", "<gone xmlns='\(Self.states)'/>", from: "nurse@capulet.example/hall", to: "juliet@capulet.example/desk"),
            Self.presence("ROMEO@capulet.example/orchard", type: "unavailable"),
        ]
        for xml in stanzas { #expect(queue.hold(xml)) }
        // A presence by full JID; a conversation by the peer, whichever way it came; the account's own side is another subject.
        let kept = [1, 5, 6, 7, 8].map { stanzas[$0] }
        #expect(queue.bytes == kept.reduce(0) { $0 + $1.utf8.count })
        #expect(queue.release() == kept)
    }

    @Test("so many stanzas wait and no more; what replaces one needs no further place")
    func stanzasMax() {
        let queue = Queue(.init(stanzasMax: 2, bytesMax: 10_000))
        #expect(queue.hold(Self.presence("a@capulet.example/x")))
        #expect(queue.hold(Self.presence("b@capulet.example/x")))
        #expect(queue.hold(Self.presence("a@capulet.example/x", type: "unavailable")))
        #expect(!queue.hold(Self.presence("c@capulet.example/x")))
        #expect(queue.release().count == 2)
        #expect(queue.hold(Self.presence("c@capulet.example/x")))
    }

    @Test("so many bytes wait and no more; what would not fit does not leave the one before it to be sent", arguments: [0, 1])
    func bytesMax(missing: Int) {
        let presence = Self.presence("a@capulet.example/x")
        let away = Self.presence("b@capulet.example/x", "<show>away</show>")
        let queue = Queue(.init(stanzasMax: 10, bytesMax: presence.utf8.count + away.utf8.count - missing))
        #expect(queue.hold(presence))
        #expect(queue.hold(Self.presence("b@capulet.example/x")))
        #expect(queue.hold(away) == (missing == 0))
        #expect(queue.release() == (missing == 0 ? [presence, away] : [presence]))
    }

    @Test("nothing waits where nothing may")
    func off() {
        let queue = Queue(.init(stanzasMax: 0))
        #expect(!queue.hold(Self.presence("a@capulet.example/x")))
    }

    @Test("a message that is too long to be a chat state is not looked into", arguments: [0, 1])
    func longMessage(more: Int) {
        let rest = Self.message("<active xmlns='\(Self.states)'/><thread></thread>").utf8.count
        let thread = String(repeating: "t", count: ClientStateQueue.chatStateBytesMax - rest + more)
        let queue = Queue()
        #expect(queue.hold(Self.message("<active xmlns='\(Self.states)'/><thread>\(thread)</thread>")) == (more == 0))
    }

    @Test("what goes out is what came, in its order, without what a newer one replaced: random walk", arguments: 1...50)
    func randomWalk(seed: UInt64) {
        let random = SeededRandom(seed: seed)
        func roll(_ sides: Int) -> Int { Int(random.bytes(1)[0]) % sides }
        let queue = Queue(.init(stanzasMax: 1 + roll(8), bytesMax: 200 + roll(200) * 8))
        var came: [(subject: Int?, xml: String)] = []
        var went: [String] = []
        for number in 0..<200 {
            let (kind, contact) = (roll(8), roll(6))
            let from = "contact\(contact)@capulet.example/x"
            let next: (subject: Int?, xml: String) =
                switch kind {
                case 0: (nil, Self.message("<body>\(number)</body>", from: from))
                case 1, 2: (100 + contact, Self.message("<composing xmlns='\(Self.states)' n='\(number)'/>", from: from))
                default: (contact, Self.presence(from, "<status>\(number)</status>"))
                }
            came.append(next)
            if queue.hold(next.xml) { continue }
            went += queue.release() + [next.xml]
        }
        went += queue.release()
        // Every one that is missing is followed, before anything that could not wait, by one about the same subject.
        var position = 0
        var lost: [String] = []
        for (index, next) in came.enumerated() {
            if position < went.count, went[position] == next.xml {
                position += 1
                continue
            }
            let later = came[(index + 1)...].prefix { $0.subject != nil }
            if next.subject == nil || !later.contains(where: { $0.subject == next.subject }) { lost.append(next.xml) }
        }
        #expect(lost == [])
        #expect(position == went.count)
    }
}
