import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

// MARK: Who has no account yet (XEP-0077, XEP-0445)

extension ClientStream {
    /// Has the domain answer a request of a client that has not logged in.
    func answerStranger(_ element: FlatElement, at domain: String, _ token: String?) {
        guard let host = loop.context.hosts.host(ofDomain: domain), let stage = host.registering, stage.takesStrangers else {
            return perform(machine.registered(.refused(.serviceUnavailable)))
        }
        let kind: IQRequest.Kind = IQType(of: element.root) == .set ? .set : .get
        if kind == .get {
            giveTime()
        } else if !service.takesRegistration(carrier?.peer, at: loop.context.time.monotonic) {
            service.router.audit.record(
                .refused(Refusal(actor: remoteAddress, action: "register at \(domain)", reason: "too many requests in an hour")))
            return perform(machine.registered(.refused(.resourceConstraint("too many accounts were asked for: try again later"))))
        }
        let request = StrangersRequest(kind, element, at: host.domain, token: token, by: machine.waysInOfStranger, from: remoteAddress)
        let stream = NIOLoopBound(self, eventLoop: loop.loop)
        let (mailbox, router) = (loop.context.mailbox, service.router)
        // It waits for a key derivation and the disk. Nothing else of a registration leaves the loop.
        Task(executorPreference: loop.executor) {
            let answer = await stage.answer(request, router, on: mailbox)
            mailbox.run { _ in stream.value.answeredStranger(answer) }
        }
    }

    private func answeredStranger(_ answer: RegistrationAnswer) {
        perform(machine.registered(answer))
        carrier?.resume()
    }

    /// People need longer for a form than programs for a log-in. Once: what is asked for again changes nothing.
    private func giveTime() {
        guard !isFillingIn, case .login = phase else { return }
        isFillingIn = true
        let until = loop.now + NetworkLoop.ticks(service.settings.registrationDeadline)
        phase = .login(until: until)
        hang(until: until)
    }
}
