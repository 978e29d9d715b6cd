import Testing

import martlet

@Suite("what martlet auth explain prints")
struct LoginExplanationTests {
    @Test("an explanation says for each mechanism whether it is offered and enough, and who decides")
    func explanation() {
        var question = LoginQuestion(account: "juliet@example.org")
        question.address = "192.0.2.7"
        let mechanism = LoginExplanation.Mechanism(name: "PLAIN", isOffered: true, isPermitted: false, why: "not allowed by rule 1; offered, because others may be")
        var explanation = LoginExplanation(question)
        explanation.listener = "client 5222"
        explanation.rule = "rule 1, operators (martlet.yaml:4)"
        explanation.mechanisms = [mechanism]
        let lines = explanation.text.split(separator: "\n").map(String.init)
        #expect(lines.first == "log-in        juliet@example.org, from 192.0.2.7, by client 5222, inside TLS, without a certificate")
        #expect(lines.contains("decided by    rule 1, operators (martlet.yaml:4)") && lines.contains("account       does not exist"))
        #expect(lines.last == "PLAIN                 too weak  not allowed by rule 1; offered, because others may be")
    }
}
