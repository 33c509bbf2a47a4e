//! What is done to the network.

use super::{BOOTSTRAP, Run, ledger};
use crate::sim::{network::NodeIndex, scenario::Leave};

impl Run<'_> {
    pub(super) async fn churn_begins(&mut self) {
        self.look.disturbed(&self.world.borrow());
        self.world.borrow_mut().weather.churn_began();
        self.ledger.churn_began(self.now());
        self.weather_changed().await;
    }

    /// One random node goes, and a newcomer comes.
    pub(super) async fn replace(&mut self, churn: usize) {
        let leave = self.scenario.churn.get(churn).map(|churn| churn.leave).unwrap_or_default();
        let gone = self.world.borrow().living.some(1, BOOTSTRAP, &mut self.rng);
        self.take_down(&gone, leave).await;
        self.join().await;
        self.ledger.replaced(gone.len());
    }

    pub(super) async fn churn_ends(&mut self) {
        self.world.borrow_mut().weather.churn_ended();
        self.ledger.churn_ended(self.now());
        self.weather_changed().await;
    }

    pub(super) async fn kill(&mut self, kill: usize) {
        let Some(kill) = self.scenario.kill.get(kill) else { return };
        self.look.disturbed(&self.world.borrow());
        let now = self.now();
        let living = self.world.borrow().living.len();
        let n = ledger::share_of(kill.share, living);
        let gone = self.world.borrow().living.some(n, BOOTSTRAP, &mut self.rng);
        self.take_down(&gone, kill.leave).await;
        let (survivors, connected) = {
            let mut world = self.world.borrow_mut();
            world.weather.killed(now + kill.within);
            (world.living.len(), world.census.is_connected())
        };
        self.ledger.killed(now, gone.len(), survivors, connected);
        self.weather_changed().await;
    }

    /// Ends nodes. Those that say goodbye take their time for it, but are not waited for.
    async fn take_down(&mut self, nodes: &[NodeIndex], leave: Leave) {
        self.retire_copies(nodes).await;
        nodes.iter().for_each(|node| self.world.borrow_mut().left(*node));
        self.net.take_down(nodes, leave);
    }

    pub(super) async fn split(&mut self, partition: usize) {
        let Some(partition) = self.scenario.partition.get(partition) else { return };
        self.look.disturbed(&self.world.borrow());
        let living = self.world.borrow().living.len();
        let n = ledger::share_of(partition.share, living);
        let cut_off = self.world.borrow().living.some(n, BOOTSTRAP, &mut self.rng);
        self.net.partition(&[&cut_off]);
        let sides = [cut_off.len(), living - cut_off.len()];
        {
            let mut world = self.world.borrow_mut();
            world.cut_off = cut_off.into_iter().collect();
            world.weather.split();
        }
        self.ledger.split(self.now(), sides);
        self.weather_changed().await;
    }

    pub(super) async fn heal(&mut self, _partition: usize) {
        self.net.heal();
        self.world.borrow_mut().weather.healed();
        self.ledger.healed(self.now());
        self.weather_changed().await;
    }
}
