import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0203 Delayed Delivery, XEP-0082 Date and Time Profiles")
struct DelayedDeliveryTests {
    @Test("a mark in the server's or the account's own name is taken off, others stay (§5)")
    func forged() {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        romeo.send(
            """
            <message to='juliet@capulet.example/balcony' type='chat'>\
            <delay xmlns='urn:xmpp:delay' from='Capulet.Example' stamp='2001-01-01T00:00:00Z'/>\
            <delay xmlns='urn:xmpp:delay' from='juliet@capulet.example' stamp='2002-01-01T00:00:00Z'/>\
            <delay xmlns='urn:xmpp:delay' from='montague.example' stamp='2003-01-01T00:00:00Z'/><body>one</body></message>
            """)
        let delays = juliet.received().first?.element.children.filter { $0.isNamed("delay", "urn:xmpp:delay") } ?? []
        #expect(delays.map { $0.attribute("from") } == ["montague.example"])
    }

    @Test("a message from the log says when the server took it")
    func offline() {
        let server = TestServer()
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        romeo.send("<message to='juliet@capulet.example' type='chat'><body>one</body></message>")
        server.advance(by: .seconds(3_600))
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence/>")
        let delay = juliet.receivedBesidesPresence().first?.child("delay")
        #expect(delay?.attribute("from") == "capulet.example")
        #expect(delay?.attribute("stamp") == "2020-09-13T12:26:40Z")
    }

    @Test(
        "times are written as in XEP-0082 §3.2",
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (-14_159_024_877, "1969-07-21T02:56:15.123Z"), (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"), (4_107_542_399_999, "2100-02-28T23:59:59.999Z"), (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00Z"), (.max, "9999-12-31T23:59:59.999Z"), (.min, "0000-01-01T00:00:00Z"),
        ] as [(Int64, String)])
    func text(milliseconds: Int64, text: String) {
        #expect(DateTime.text(milliseconds: milliseconds) == text)
    }

    @Test(
        "times are read as in XEP-0082 §3.2, to the millisecond",
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("1969-07-21T02:56:15Z", -14_159_025_000), ("1969-07-20T21:56:15-05:00", -14_159_025_000),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789), ("2000-02-29T12:34:56.7Z", 951_827_696_700),
            ("2000-02-29T12:34:56.78999999999999999999999999Z", 951_827_696_789), ("2000-03-01T00:00:00+14:00", 951_818_400_000),
            ("2000-03-01T00:00:00-00:00", 951_868_800_000), ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999), ("2010-07-10T23:08:25.1234+01:30", 1_278_797_905_123),
        ] as [(String, Int64)])
    func milliseconds(text: String, milliseconds: Int64) {
        #expect(DateTime.milliseconds(of: text) == milliseconds)
    }

    @Test(
        "what is no date and time of XEP-0082 is none",
        arguments: [
            "", "2000-01-01", "2000-01-01T00:00:00", "2000-01-01T00:00Z", "2000-01-01 00:00:00Z", "2000-01-01t00:00:00Z", "2000-01-01T00:00:00z",
            "2000-02-30T00:00:00Z", "2001-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-04-31T00:00:00Z", "2000-13-01T00:00:00Z",
            "2000-00-01T00:00:00Z", "2000-01-00T00:00:00Z", "2000-01-32T00:00:00Z", "2000-01-01T24:00:00Z", "2000-01-01T00:60:00Z",
            "2000-01-01T00:00:60Z", "2000-01-01T00:00:00.Z", "2000-01-01T00:00:00,5Z", "2000-01-01T00:00:00+0100", "2000-01-01T00:00:00+01",
            "2000-01-01T00:00:00+14:01", "2000-01-01T00:00:00+15:00", "2000-01-01T00:00:00+01:60", "20000-01-01T00:00:00Z", "200-01-01T00:00:00Z",
            "-2000-01-01T00:00:00Z", "+2000-01-01T00:00:00Z", "2000-1-1T00:00:00Z", "20000101T00:00:00", "20000101T00:00:00Z", "2000-01-01T00:00:00ZZ",
            " 2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z ", "２000-01-01T00:00:00Z", "2000-01-01T+1:00:00Z",
        ])
    func noTime(_ text: String) {
        #expect(DateTime.milliseconds(of: text) == nil)
    }

    @Test("every time that is written is read as the same")
    func timeRoundTrip() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let milliseconds = Int64.random(in: -62_167_219_200_000...253_402_300_799_999, using: &random)
            let text = DateTime.text(milliseconds: milliseconds)
            #expect(DateTime.milliseconds(of: text) == milliseconds, "\(text)")
        }
    }
}
