import Logging
import MartletCore
import MartletLDAP
package import NIOCore
package import NIOSSL
import NIOTLS

/// One connection of a client: performs what a ``FrontEndMachine`` says, and reads no faster than the other side is read from.
///
/// Everything here is done on its loop; what takes time is asked in tasks, whose answers come back to it.
package final class FrontEndConnection: ChannelInboundHandler, UpstreamReceiver {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// The server stops.
    struct Stop: Sendable {}

    private var machine: any FrontEndMachine
    private let services: FrontEndServices
    private let peer: FrontEndPeer
    private let tls: NIOSSLContext?
    private var framing: LDAPFraming
    private var upstreamFraming: LDAPFraming
    private var upstream: (any Channel)?
    private var context: ChannelHandlerContext?
    private var lastHeard: NIODeadline
    /// When the first bytes came of a message that is not there as a whole.
    private var messageBegan: NIODeadline?
    private var identifyingSince: NIODeadline?
    /// Until when nothing is read, because passwords were wrong.
    private var waitsUntil: NIODeadline
    private var timer: RepeatedTask?
    private var isEnding = false
    private var isBound = false
    /// When the last bind began that is verified here.
    private var moment = CredentialMoment.latest
    private var isReadingClient = true
    private var isReadingUpstream = true

    private var settings: FrontEndSettings { services.settings }

    /// - Parameter tls: for StartTLS; `nil` where there is TLS already, or none.
    package init(
        _ machine: any FrontEndMachine, _ services: FrontEndServices, from peer: FrontEndPeer = FrontEndPeer(), tls: NIOSSLContext?, on loop: any EventLoop
    ) {
        self.machine = machine
        self.services = services
        self.peer = peer
        self.tls = tls
        framing = LDAPFraming(messageBytesMax: services.settings.messageBytesBeforeBind)
        upstreamFraming = LDAPFraming(messageBytesMax: services.settings.upstreamMessageBytesMax)
        lastHeard = loop.now
        waitsUntil = loop.now
    }

    // MARK: The client

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let this = NIOLoopBound(self, eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleRepeatedTask(initialDelay: .seconds(5), delay: .seconds(5)) { _ in this.value.looksAround() }
        wait(services.binds.delay(peer))
    }

    /// Lets whoever guesses passwords wait.
    private func wait(_ time: TimeAmount) {
        guard time > .zero, let context else { return }
        waitsUntil = max(waitsUntil, context.eventLoop.now + time)
        let this = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(deadline: waitsUntil) { this.value.regulate() }
        regulate()
    }

    package func handlerRemoved(context: ChannelHandlerContext) { ended() }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastHeard = context.eventLoop.now
        framing.take(unwrapInboundIn(data))
        readOn()
    }

    private func readOn() {
        do throws(LDAPFault) {
            while !isEnding, let frame = try framing.next() {
                messageBegan = nil
                perform(machine.fromClient(frame, isLast: framing.pendingBytes == 0))
            }
        } catch {
            perform(FrontEndEffect.disconnection(.protocolError, "a message that cannot be read, or is too long"))
        }
        messageBegan = framing.pendingBytes == 0 ? nil : messageBegan ?? lastHeard
        regulate()
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event {
            perform(machine.secured())
            regulate()
        }
        if event is Stop { perform(FrontEndEffect.disconnection(.unavailable, "the server stops")) }
        context.fireUserInboundEventTriggered(event)
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        regulate()
        context.fireChannelWritabilityChanged()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    package func channelInactive(context: ChannelHandlerContext) {
        ended()
        context.fireChannelInactive()
    }

    private func ended() {
        guard context != nil else { return }
        context = nil
        isEnding = true
        timer?.cancel()
        upstream?.close(promise: nil)
        upstream = nil
    }

    /// Who says nothing and waits for nothing is let go; a directory that does not say who has bound is given up.
    private func looksAround() {
        guard let context else { return }
        let now = context.eventLoop.now
        if machine.isIdentifying {
            let since = identifyingSince ?? now
            identifyingSince = since
            if since + .seconds(Int64(settings.operationSeconds)) <= now { upstreamEnded() }
        } else {
            identifyingSince = nil
        }
        // Nothing is read meanwhile, which is not the client's fault.
        if !isReadingClient, messageBegan != nil { messageBegan = now }
        if let messageBegan, messageBegan + .seconds(Int64(settings.messageSeconds)) <= now {
            return perform(FrontEndEffect.disconnection(.unavailable, "a message did not come to its end"))
        }
        if !machine.isIdle { lastHeard = now }
        let patience = isBound ? settings.idleSeconds : settings.idleSecondsBeforeBind
        if lastHeard + .seconds(Int64(patience)) <= now { perform(FrontEndEffect.disconnection(.unavailable, "nothing was said for long")) }
    }

    // MARK: Effects

    private func perform(_ effects: [FrontEndEffect]) {
        guard !effects.isEmpty, let context, !isEnding else { return }
        for effect in effects {
            switch effect {
            case .toClient(let bytes): context.write(wrapOutboundOut(bytes), promise: nil)
            case .toUpstream(let bytes): upstream?.write(bytes, promise: nil)
            case .connect: connect(context)
            case .beginTLS: beginTLS(context)
            case .bound(let isBound):
                self.isBound = isBound
                framing.messageBytesMax = isBound ? settings.messageBytesMax : settings.messageBytesBeforeBind
            case .heard(let outcome): wait(services.binds.heard(outcome, peer))
            case .findVisible, .lookUp, .verify, .search: ask(effect, context.eventLoop)
            case .close: end(context)
            }
        }
        context.flush()
        upstream?.flush()
    }

    private func end(_ context: ChannelHandlerContext) {
        isEnding = true
        upstream?.flush()
        upstream?.close(promise: nil)
        upstream = nil
        let promise = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: promise)
        let channel = context.channel
        promise.futureResult.whenComplete { _ in channel.close(promise: nil) }
        // A client that reads nothing does not keep us.
        context.eventLoop.scheduleTask(in: .seconds(5)) { channel.close(promise: nil) }
    }

    private func beginTLS(_ context: ChannelHandlerContext) {
        guard let tls else { preconditionFailure("StartTLS was agreed to without a certificate") }
        context.flush()
        do {
            try context.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls), position: .first)
        } catch {
            context.close(promise: nil)
        }
    }

    /// What takes time: in a task, because the presence of others, and accounts, may have to be read.
    private func ask(_ effect: FrontEndEffect, _ loop: any EventLoop) {
        let this = NIOLoopBound(self, eventLoop: loop)
        if case .verify = effect, let embedded = services.embedded { moment = embedded.now }
        let (services, peer, moment) = (services, peer, moment)
        Task {
            guard let (question, answer) = await services.answer(effect, to: peer, boundAt: moment) else { return }
            loop.execute {
                this.value.perform(this.value.machine.answered(answer, for: question))
                this.value.regulate()
            }
        }
    }

    // MARK: The directory behind

    private func connect(_ context: ChannelHandlerContext) {
        let this = NIOLoopBound(self, eventLoop: context.eventLoop)
        guard let dial = services.upstream else { preconditionFailure("there is no directory behind") }
        dial.connect(on: context.eventLoop, self).whenComplete { result in
            switch result {
            case .success(let channel): this.value.connected(channel)
            case .failure(let error): this.value.notConnected(error)
            }
        }
    }

    private func connected(_ channel: any Channel) {
        guard !isEnding else { return channel.close(promise: nil) }
        guard channel.isActive else { return notConnected(DirectoryFailure.disconnected(nil)) }
        upstream = channel
        upstreamFraming = LDAPFraming(messageBytesMax: settings.upstreamMessageBytesMax)
        isReadingUpstream = true
        perform(machine.connected())
        regulate()
    }

    private func notConnected(_ error: any Error) {
        services.log.warning("The directory behind cannot be reached", metadata: ["error": "\(DirectoryFailure(error))"])
        perform(machine.upstreamLost())
        regulate()
    }

    func upstreamSaid(_ bytes: ByteBuffer) {
        upstreamFraming.take(bytes)
        do throws(LDAPFault) {
            while !isEnding, let frame = try upstreamFraming.next() { perform(machine.fromUpstream(frame)) }
        } catch {
            upstreamEnded()
        }
        regulate()
    }

    func upstreamEnded() {
        upstream?.close(promise: nil)
        upstream = nil
        perform(machine.upstreamLost())
        regulate()
    }

    func upstreamWritabilityChanged() { regulate() }

    // MARK: Back-pressure

    /// Neither side is read while the other, or this server, is behind.
    private func regulate() {
        guard let context, !isEnding else { return }
        let isHeard = waitsUntil <= context.eventLoop.now
        let heldMax = isBound ? settings.waitingBytesMax : settings.waitingBytesBeforeBind
        let readsClient = isHeard && upstream?.isWritable != false && context.channel.isWritable && machine.heldBytes <= heldMax
        if readsClient != isReadingClient {
            isReadingClient = readsClient
            try? context.channel.syncOptions?.setOption(.autoRead, value: readsClient)
        }
        let readsUpstream = context.channel.isWritable && machine.waitingBytes <= settings.waitingBytesMax
        if readsUpstream != isReadingUpstream {
            isReadingUpstream = readsUpstream
            try? upstream?.syncOptions?.setOption(.autoRead, value: readsUpstream)
        }
    }
}
